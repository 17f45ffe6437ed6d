"""Attention weights as text: for each layer and head, where the weights are.

Columns, means over the queries, or of the one query of an image:

  keys       exp of the entropy: over how many keys the weights are spread
  distance   mean distance of a key, in tokens of the row or, on a grid, in cells
  itself     weight of the query's own token
  first      weight of the row's first token
  largest    on a grid, the largest weight of a cell, and that cell
"""

import textwrap

import numpy as np

from posjax.plotting import printable
from posjax.show.grid_words import place
from posjax.show.table import aligned
from posjax.show.trained import Image, Trained, Weights


def text(trained: Trained) -> str:
  """Returns the printed text."""
  example = '\n'.join(textwrap.wrap(printable(trained.text), 100))
  parts = [trained.title, trained.differs, example, aligned(table(trained))]
  return '\n\n'.join(filter(None, parts))


def table(trained: Trained) -> list[list[str]]:
  """Returns rows of cells, a head in each; the first row has the columns."""
  image = trained.image
  columns = ('itself', 'largest', 'cell') if image else ('itself', 'first')
  rows = [['attention weights', 'keys', 'distance', *columns]]
  for layer in trained.layers:
    for n, p_TS in enumerate(layer.by_head):
      numbers = of_image(p_TS, image) if image else of_line(p_TS, layer)
      rows.append([f'{layer.name}, head {n + 1}', *numbers])
  return rows


def spread(p_TS: np.ndarray) -> np.ndarray:
  """Returns exp of the entropy of each row of weights; NaN are no keys."""
  with np.errstate(divide='ignore', invalid='ignore'):
    return np.exp(-np.nansum(np.where(p_TS > 0, p_TS * np.log(p_TS), 0), axis=-1))


def of_line(p_TS: np.ndarray, layer: Weights) -> list[str]:
  seen_T = ~np.isnan(p_TS).all(axis=-1)
  keys = f'{spread(p_TS[seen_T]).mean():.1f}'
  first = f'{np.nanmean(p_TS[:, 0]):.3f}'
  if layer.name.endswith('source'):  # its keys are not the queries' tokens
    return [keys, '-', '-', first]
  distance_TS = np.abs(np.subtract.outer(*[np.arange(len(p_TS))] * 2))
  distance = np.nansum(p_TS * distance_TS, axis=-1)[seen_T].mean()
  return [keys, f'{distance:.1f}', f'{np.nanmean(np.diagonal(p_TS)):.3f}', first]


def of_image(p_TS: np.ndarray, image: Image) -> list[str]:
  p_S = p_TS[image.query]
  cells = p_S[image.token]
  distance = '-'
  if image.cell:
    away = np.linalg.norm(np.indices(cells.shape).T - np.array(image.cell), axis=-1).T
    distance = f'{np.nansum(cells * away) / np.nansum(cells):.1f}'
  most = tuple(map(int, np.unravel_index(np.nanargmax(cells), cells.shape)))
  own = p_S[image.query]
  return [f'{spread(p_S):.1f}', distance, f'{own:.3f}', f'{cells[most]:.3f}', place(most)]
