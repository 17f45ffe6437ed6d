"""Draws facts: curves by distance, all pairs, frequencies, and the text around them.

The picture shows the numbers that `words` prints: its table has those at the ends of the curves.
"""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import matplotlib.colors
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec
from matplotlib.image import AxesImage

from posjax.plotting import spread_labels
from posjax.show import grid_picture, words
from posjax.show.facts import EXTENSION, Curves, Line
from posjax.show.grid import Grid, Shown
from posjax.show.style import FAINT, HEADS, MARK, STYLE, UNSEEN, WIDTH
from posjax.show.table import evenly

PANELS = 6.4  # inches, the height of the panels of a text
LINE = 0.165  # inches, height of a line of text
WRAP = 128  # characters per line
TILES = 4  # largest number of heads whose pairs are drawn


def draw(
  layers: Sequence[Shown], path: pathlib.Path | BinaryIO, *, with_words: bool = True, dpi: int = 130
) -> None:
  """Writes a PNG of `Facts`, one layer below the other; `path` may be a file object."""
  with matplotlib.rc_context(STYLE):
    figure(layers, with_words=with_words).savefig(path, dpi=dpi, format='png')


def figure(layers: Sequence[Shown], *, with_words: bool = True) -> Figure:
  heads = [head(facts) if with_words else [] for facts in layers]
  feet = [foot(facts) if with_words else [] for facts in layers]
  heights = [
    [LINE * len(above) + 0.15, panels_height(facts), LINE * len(below)]
    for facts, above, below in zip(layers, heads, feet, strict=True)
  ]
  made = Figure(figsize=(WIDTH, sum(map(sum, heights)) + 0.2), layout='constrained')
  made.get_layout_engine().set(w_pad=0.1, h_pad=0.06)
  rows = made.subfigures(len(layers), 1, height_ratios=[*map(sum, heights)], squeeze=False)[:, 0]
  for facts, row, height, above, below in zip(layers, rows, heights, heads, feet, strict=True):
    top, middle, bottom = row.subfigures(3, 1, height_ratios=np.maximum(height, 1e-3))
    write(top, above, height[0])
    panels(middle, facts)
    write(bottom, below, height[2])
  return made


def head(facts: Shown) -> list[tuple[str, dict[str, Any]]]:
  """Returns [(text, font options)], the lines above the panels."""
  big = dict(size=10.5, weight='bold')
  found = [(line, big) for line in textwrap.wrap(words.title(facts), 100)]
  for paper in words.papers(facts):
    found += [('', {})] + [(line, {}) for line in textwrap.wrap(paper.summary, WRAP)]
    found += [(line, dict(color=FAINT)) for line in textwrap.wrap(paper.citation, WRAP)]
    equation = [''] * bool(paper.equation) + paper.equation.splitlines()
    found += [(f'  {line}', dict(family='monospace', size=8.5)) for line in equation]
  return found


def foot(facts: Shown) -> list[tuple[str, str]]:
  found = []
  for label, text in words.lines(facts):
    for i, line in enumerate(textwrap.wrap(text, WRAP)):
      found.append(('' if i else label, line))
  return found


def write(place: SubFigure, lines: Sequence[tuple[str, Any]], height: float) -> None:
  """Writes lines from the top down: (text, font options) or (label, text)."""
  for i, (text, how) in enumerate(lines):
    y = 1 - (i * LINE + 0.05) / height
    if isinstance(how, dict):
      place.text(0.012, y, text, va='top', **{'size': 9, **how})
    else:
      place.text(0.012, y, text, va='top', size=8.5, color=FAINT)
      place.text(0.115, y, how, va='top', size=8.5)


def panels_height(facts: Shown) -> float:
  """Returns the height of the panels of a layer, in inches."""
  return grid_picture.height(facts) if isinstance(facts, Grid) else PANELS


def panels(place: SubFigure, facts: Shown) -> None:
  if isinstance(facts, Grid):
    grid_picture.panels(place, facts)
  else:
    line_panels(place, facts)


def line_panels(place: SubFigure, facts: Line) -> None:
  grid = place.add_gridspec(2, 2, width_ratios=[1.15, 1])
  near, far = (place.add_subplot(grid[i, 0]) for i in range(2))
  curves(near, facts, facts.trained)
  near.set_title(f'a text of the trained length, {facts.trained.length:,} tokens')
  if facts.extended:
    if facts.unscaled:
      far.plot(facts.unscaled.extended.by_head.T, color=FAINT, linewidth=0.8)
    curves(far, facts, facts.extended)
    far.set_title(f'a text of {facts.extended.length:,} tokens{thin(facts)}')
    mark(far, facts.trained.length, 'trained length')
  else:
    idle(far, words.extension(facts))
  if len(facts.theta):
    pairs(place, grid[0, 1], facts, 'right')
    frequencies(place.add_subplot(grid[1, 1]), facts)
  else:
    pairs(place, grid[:, 1], facts, 'bottom')


def thin(facts: Line) -> str:
  return '; thin: unscaled' if facts.unscaled else ''


def inks(count: int) -> np.ndarray:
  ramp = matplotlib.colors.LinearSegmentedColormap.from_list('heads', HEADS)
  return ramp(np.linspace(0, 1, max(count, 2)))[:count]


def curves(ax: Axes, facts: Line, curve: Curves) -> None:
  """Draws a line per head with its label and last number; the table lists the dots."""
  dots, ends = words.distances(curve), {}
  for (label, n), ink in zip(facts.heads.items(), inks(len(facts.heads)), strict=True):
    y = curve.by_head[n]
    ax.plot(y, color=ink, linewidth=1.6 if curve.length < 400 else 0.9, label=label)
    ax.plot(dots, y[dots], 'o', color=ink, markersize=3)
    for last in np.flatnonzero(~np.isnan(y))[-1:]:  # a head may see no token
      ends[label] = (int(last), float(y[last]), ink)
  ax.set_xlim(-0.01 * curve.length, curve.length)
  ax.set_xlabel('distance, tokens back')
  ax.set_ylabel(facts.kind)
  ax.set_ylim(*at_least_apart(*ax.get_ylim()))
  named(ax, ends)


def at_least_apart(low: float, high: float, least: float = 1e-9) -> tuple[float, float]:
  """Returns the limits of an axis, widened if they are nearly equal."""
  return (low, high) if high - low > least else (low - 1, high + 1)


def named(ax: Axes, ends: Mapping[str, tuple[float, float, Any]]) -> None:
  """Writes labels {label: (x, y, color)} next to line ends, moved apart if they overlap."""
  low, high = ax.get_ylim()
  order = sorted(ends, key=lambda label: ends[label][1])
  at = spread_labels([(ends[label][1] - low) / (high - low) for label in order], 0.065)
  for label, height in zip(order, at, strict=True):
    x, y, ink = ends[label]
    ax.annotate(
      f'{label}  {words.number(y)}', (x, y), xytext=(1.03, height), textcoords='axes fraction',
      va='center', size=8, color=ink, annotation_clip=False,
      arrowprops=dict(arrowstyle='-', color=ink, linewidth=0.5, alpha=0.5, relpos=(0, 0.5)),
    )


def mark(ax: Axes, x: float, text: str, *, linestyle: str = '--', height: float = 0.99) -> None:
  """Draws a vertical line with text at its upper end."""
  ax.axvline(x, color=MARK, linewidth=1, linestyle=linestyle)
  ax.annotate(
    f'{text} {x:,}'.strip(), (x, height), xytext=(4, 0), xycoords=('data', 'axes fraction'),
    textcoords='offset points', va='top', color=MARK, size=8,
    bbox=dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1),
  )


def idle(ax: Axes, text: str) -> None:
  ax.set_axis_off()
  ax.text(0, 0.5, '\n'.join(textwrap.wrap(text, 50)), va='center', color=FAINT)


def pairs(place: SubFigure, cell: SubplotSpec, facts: Line, side: str) -> None:
  """Draws all query-key pairs at the trained length for up to TILES heads, on one color scale."""
  heads = [*facts.heads.items()]
  chosen = [heads[i] for i in evenly(len(heads), TILES)]
  across = 1 if len(chosen) == 1 else 2
  grid = cell.subgridspec(-(-len(chosen) // across), across)
  low, high = at_least_apart(np.nanmin(facts.picture), np.nanmax(facts.picture))
  axes = []
  for i, (label, n) in enumerate(chosen):
    ax = place.add_subplot(grid[i // across, i % across])
    image = pair(ax, facts, n, low, high)
    ax.set_title(label)
    below = i // across == grid.nrows - 1
    if grid.nrows > 1:
      ax.set_anchor('N' if below else 'S')  # keeps rows together in a tall panel
    ax.set_ylabel('' if i % across else 'query')
    ax.set_xlabel('key' if below else '')
    ax.tick_params(labelleft=not i % across, labelbottom=below)
    axes.append(ax)
  bar = place.colorbar(image, ax=axes, location=side, shrink=0.7, aspect=30, pad=0.02)
  bar.outline.set_visible(False)
  bar.set_label(facts.kind)


def pair(ax: Axes, facts: Line, n: int, low: float, high: float) -> AxesImage:
  T = facts.trained.length
  ax.set_facecolor(UNSEEN)
  ax.spines[:].set_visible(False)
  ticks = [0, T // 2, T - 1]
  ax.set_xticks(ticks, [f'{t:,}' for t in ticks])
  ax.set_yticks(ticks, [f'{t:,}' for t in ticks])
  return ax.imshow(
    facts.picture[n], cmap='viridis', vmin=low, vmax=high, interpolation='nearest',
    extent=(-0.5, T - 0.5, T - 0.5, -0.5),
  )


def frequencies(ax: Axes, facts: Line) -> None:
  """Draws a dot per wavelength: filled if at most the trained length, hollow if longer."""
  T, wavelengths = facts.trained.length, 2 * np.pi / facts.theta
  index = np.arange(len(wavelengths)) + 1
  if facts.unscaled:
    before = 2 * np.pi / facts.unscaled.theta
    ax.plot(before, np.arange(len(before)) + 1, '|', color=FAINT, markersize=7)
  for within, face in ((wavelengths <= T, HEADS[0]), (wavelengths > T, 'white')):
    ax.plot(
      wavelengths[within], index[within], 'o', color=HEADS[0], markerfacecolor=face, markersize=4
    )
  ax.set_xscale('log')
  ax.xaxis.set_major_locator(matplotlib.ticker.LogLocator(numticks=6))
  ax.xaxis.set_major_formatter(lambda x, _: words.figure(x))
  ax.xaxis.set_minor_formatter(lambda x, _: '')
  ax.invert_yaxis()
  ax.set_xlabel('wavelength, tokens')
  ax.set_ylabel('frequency, fastest first')
  ax.set_title(f'wavelengths; hollow: beyond the trained length{thin(facts)}', size=8.5)
  mark(ax, T, 'trained length', height=0.15)
  mark(ax, EXTENSION * T, '', linestyle=':', height=0.07)
  for i in (0, len(wavelengths) - 1):
    ax.annotate(
      words.figure(wavelengths[i]), (wavelengths[i], index[i]), xytext=(6, 0),
      textcoords='offset points', va='center', size=8, color=HEADS[0],
    )
