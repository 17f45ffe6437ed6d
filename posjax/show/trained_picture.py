"""Draws attention weights: a map for each layer and head, on one scale."""

import pathlib
import textwrap

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from posjax.plotting import printable
from posjax.show.grid_picture import mark, on_image
from posjax.show.grid_words import place
from posjax.show.style import FAINT, STYLE, UNSEEN, WIDTH
from posjax.show.trained import Image, Trained

LARGEST = 2.2  # inches, of a map
WRAP = 110  # characters per line


def draw(trained: Trained, path: pathlib.Path, *, dpi: int = 130) -> None:
  """Writes a PNG."""
  with matplotlib.rc_context(STYLE):
    figure(trained).savefig(path, dpi=dpi, format='png')


def figure(trained: Trained) -> Figure:
  heads = max(len(layer.by_head) for layer in trained.layers)
  image = trained.image
  columns, lines = heads + bool(image), head(trained)
  side = min(LARGEST, (WIDTH - 1.5) / columns)
  top = 0.18 * len(lines) + 0.3
  tall = [1 if image else share(layer.by_head) for layer in trained.layers]
  size = side * columns + 1.5, sum(side * part + 0.4 for part in tall) + top + 0.3
  made = Figure(figsize=(max(size[0], WIDTH / 2), size[1]), layout='constrained')
  made.get_layout_engine().set(rect=(0, 0, 1, 1 - top / size[1]))
  for i, line in enumerate(lines):
    y = 1 - (0.1 + 0.18 * i) / size[1]
    made.text(0.012, y, line, va='top', size=9, weight='normal' if i else 'bold')
  axes = made.subplots(len(tall), columns, squeeze=False, height_ratios=tall)
  norm = PowerNorm(0.5, 0, largest(trained))  # weights are small where they are spread
  for row, layer in zip(axes, trained.layers, strict=True):
    for ax in row:
      ax.set_axis_off()
    if image:
      inputs(row[0], image.inputs)
    for n, (ax, p_TS) in enumerate(zip(row[bool(image) :], layer.by_head, strict=False)):
      drawn = on_cells(ax, p_TS, image, norm) if image else pairs(ax, p_TS, norm)
      ax.set_title(f'{layer.name}, head {n + 1}' if n == 0 else f'head {n + 1}', size=8.5)
  for ax in axes[-1, bool(image) :]:
    ax.set_xlabel('' if image else 'key')
  bar = made.colorbar(drawn, ax=axes, shrink=min(1, 3 / size[1]), aspect=25, pad=0.02)
  bar.outline.set_visible(False)
  bar.set_label('attention weight')
  return made


def share(p_NTS: np.ndarray) -> float:
  """Returns the height of a map of pairs as a multiple of its width."""
  return p_NTS.shape[1] / p_NTS.shape[2]


def head(trained: Trained) -> list[str]:
  """Returns the lines above the maps."""
  lines = textwrap.wrap(trained.title, WRAP) + textwrap.wrap(trained.differs, WRAP)
  lines += textwrap.wrap(printable(trained.text), WRAP)[:4]
  if trained.image:
    cell = trained.image.cell
    query = f'cell {place(cell)}' if cell else 'the token without a place'
    lines.append(f'query: {query}')
  return lines


def largest(trained: Trained) -> float:
  """Returns the largest weight that is drawn."""
  image = trained.image
  if image:
    return max(np.nanmax(each.by_head[:, image.query][:, image.token]) for each in trained.layers)
  return max(np.nanmax(each.by_head) for each in trained.layers)


def pairs(ax: Axes, p_TS: np.ndarray, norm: PowerNorm) -> AxesImage:
  T, S = p_TS.shape
  ax.set_axis_on()
  ax.set_facecolor(UNSEEN)
  ax.spines[:].set_visible(False)
  ax.set_xticks([0, S - 1])
  ax.set_yticks([0, T - 1])
  ax.tick_params(length=0, pad=2, labelsize=8)
  if ax.get_subplotspec().is_first_col():
    ax.set_ylabel('query')
  return ax.imshow(p_TS, cmap='viridis', norm=norm, interpolation='nearest')


def on_cells(ax: Axes, p_TS: np.ndarray, image: Image, norm: PowerNorm) -> AxesImage:
  drawn = on_image(ax, p_TS[image.query][image.token], cmap='viridis', norm=norm)
  if image.cell:
    mark(ax, image.cell, image.sizes)
  return drawn


def inputs(ax: Axes, pixels: np.ndarray) -> None:
  pixels = pixels - pixels.min()
  ax.imshow(pixels / (pixels.max() or 1), cmap='gray', interpolation='nearest')
  if ax.get_subplotspec().is_first_row():
    ax.set_title('the example', size=8.5, color=FAINT)
