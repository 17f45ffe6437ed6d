"""Numbers and tables as text."""

from collections.abc import Sequence

import numpy as np


def number(x: float) -> str:
  return '-' if np.isnan(x) else f'{x:.6g}' if abs(x) > 1e-9 else '0'


def figure(x: float) -> str:
  return f'{x:,.4g}' if x < 10_000 else f'{x:,.0f}'


def aligned(rows: Sequence[Sequence[str]]) -> str:
  """Returns rows of cells as lines; the first column is to the left, the others to the right."""
  first, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  line = lambda name, *cells: '  '.join(
    [f'{name:<{first}}', *(f'{cell:>{width}}' for cell, width in zip(cells, widths, strict=True))]
  )
  return '\n'.join(line(*row) for row in rows)


def evenly(count: int, most: int) -> np.ndarray:
  """Returns at most `most` indices below `count`, with the first and the last."""
  return np.linspace(0, count - 1, min(count, most)).round().astype(int)
