"""Draws the numbers of a grid: a map per query and head, and the angles of each axis."""

from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import SubFigure
from matplotlib.image import AxesImage

from posjax.show.grid import Grid, Query
from posjax.show.grid_words import place as words_of_place
from posjax.show.style import FAINT, HEADS, INK, UNSEEN
from posjax.show.table import evenly, figure

TILES = 8  # largest number of heads that are drawn
ACROSS = 4  # maps next to each other; of three axes, one
MAP = 2.3  # inches, height of a row of maps
ANGLES = 2.6  # inches, height of the panel of angles
MARKERS = 'osD'  # of the axes


def shown_heads(facts: Grid) -> list[tuple[str, int]]:
  heads = [*facts.heads.items()]
  return [heads[i] for i in evenly(len(heads), TILES)]


def across(facts: Grid) -> int:
  """Returns how many maps are next to each other; one if each is a row of slices."""
  return 1 if len(facts.sizes) == 3 or in_one_row(facts) else ACROSS


def rows(facts: Grid) -> int:
  """Returns the rows of maps of a query."""
  return -(-len(shown_heads(facts)) // across(facts))


def heights(facts: Grid) -> list[float]:
  """Returns the height of each panel: the maps of a query, or the angles."""
  return [MAP * rows(facts)] * len(facts.queries) + [ANGLES] * bool(facts.theta.size)


def height(facts: Grid) -> float:
  return max(heights(facts)) if in_one_row(facts) else sum(heights(facts))


def in_one_row(facts: Grid) -> bool:
  """Returns whether the panels are next to each other: there is one head to show."""
  return len(facts.heads) == 1 and len(facts.sizes) == 2


def panels(place: SubFigure, facts: Grid) -> None:
  tall = heights(facts)
  if in_one_row(facts):
    count = len(facts.queries)
    parts = place.subfigures(1, count + 1, width_ratios=[1] * count + [3 - count])
  else:
    parts = place.subfigures(len(tall), 1, height_ratios=tall, squeeze=False)[:, 0]
  furthest = max(float(np.nanmax(np.abs(query.relative))) for query in facts.queries)
  for part, query in zip(parts, facts.queries, strict=False):
    maps(part, facts, query, furthest or 1)
  if facts.theta.size:
    angles(parts[-1].add_subplot(), facts)


def maps(place: SubFigure, facts: Grid, query: Query, furthest: float) -> None:
  """Draws a map for each head, relative to the query's own cell, on a scale of all maps."""
  heads = shown_heads(facts)
  axes = place.subplots(rows(facts), across(facts), squeeze=False)
  for ax in axes.flat:
    ax.set_axis_off()
  for ax, (label, n) in zip(axes.flat, heads, strict=False):
    image = on_image(ax, query.relative[n], cmap='PuOr_r', norm=CenteredNorm(0, furthest))
    ax.set_anchor('W')
    mark(ax, query.cell, facts.sizes)
    ax.set_title(label)
  bar = place.colorbar(image, ax=[*axes.flat[: len(heads)]], shrink=0.8, aspect=20, pad=0.02)
  bar.outline.set_visible(False)
  bar.set_label(f'{facts.kind} minus that\nof its own cell')
  left = 0.03 if in_one_row(facts) else 0.012
  place.suptitle(f'query in cell {words_of_place(query.cell)}', x=left, ha='left', size=9.5)


def flat(cells: np.ndarray) -> np.ndarray:
  """Returns a grid as an image: the slices of a first of three axes are next to each other."""
  if cells.ndim == 2:
    return cells
  frames = np.pad(cells, [(0, 0), (0, 0), (0, 1)], constant_values=np.nan)
  return np.moveaxis(frames, 0, 1).reshape(cells.shape[1], -1)[:, :-1]


def on_image(ax: Axes, cells: np.ndarray, **how: Any) -> AxesImage:
  """Draws the numbers of a grid's cells, with the first and last index of each axis."""
  ax.set_axis_on()
  ax.set_facecolor(UNSEEN)
  ax.spines[:].set_visible(False)
  *frames, R, C = cells.shape
  starts = np.arange(frames[0] if frames else 1) * (C + 1)
  if frames:
    for start in starts[1:]:
      ax.axvspan(start - 1.5, start - 0.5, color='white')
    ax.set_xticks(starts + (C - 1) / 2, [f'axis 0: {i}' for i in range(len(starts))])
  else:
    ax.set_xticks([0, C - 1])
  ax.set_yticks([0, R - 1])
  ax.tick_params(length=0, pad=2, labelsize=8)
  return ax.imshow(flat(cells), interpolation='nearest', **how)


def mark(ax: Axes, cell: tuple[int, ...], sizes: tuple[int, ...]) -> None:
  """Marks a cell with a ring."""
  *frame, row, column = cell
  x = column + (frame[0] * (sizes[-1] + 1) if frame else 0)
  ax.plot(x, row, 'o', markersize=5, markerfacecolor='white', markeredgecolor=INK)


def angles(ax: Axes, facts: Grid) -> None:
  """Draws the wavelength of each plane on each axis that rotates it; hollow: opposite direction."""
  theta_PC = facts.theta
  plane_C = np.arange(theta_PC.shape[1]) + 1
  wavelength_PC = 2 * np.pi / np.where(theta_PC == 0, np.nan, np.abs(theta_PC))
  ends = np.nanmin(wavelength_PC, axis=0), np.nanmax(wavelength_PC, axis=0)
  ax.hlines(plane_C, *ends, color=FAINT, linewidth=0.6, zorder=1)
  for axis, theta_C in enumerate(theta_PC):
    ink = HEADS[axis]
    for turns, face in ((theta_C > 0, ink), (theta_C < 0, 'white')):
      ax.plot(
        wavelength_PC[axis, turns], plane_C[turns], MARKERS[axis], color=ink,
        markerfacecolor=face, markersize=5, label=f'axis {axis}' if face == ink else None,
      )
  ax.set_xscale('log')
  ax.xaxis.set_major_locator(matplotlib.ticker.LogLocator(numticks=6))
  ax.xaxis.set_major_formatter(lambda x, _: figure(x))
  ax.xaxis.set_minor_formatter(lambda x, _: '')
  ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
  ax.invert_yaxis()
  ax.set_xlabel('wavelength, positions')
  ax.set_ylabel('plane')
  ax.grid(axis='x', color=FAINT, alpha=0.2)
  hollow = '; hollow: in the opposite direction' if (theta_PC < 0).any() else ''
  ax.set_title(f'wavelength of each plane{hollow}')
  ax.legend(frameon=False, loc='center left', bbox_to_anchor=(1.01, 0.5))
