"""The numbers of a grid as text; `words` has the text of all layers."""

import itertools

import numpy as np

from posjax.show.grid import Grid, Query
from posjax.show.table import aligned, evenly, figure, number

MOST_ANGLES = 32  # rows of their table


def size(facts: Grid) -> str:
  return ' x '.join(map(str, facts.sizes))


def place(cell: tuple[int, ...]) -> str:
  return f'({", ".join(map(str, cell))})'


def tokens(facts: Grid) -> str:
  order = 'which sees no later one' if facts.causal else 'which sees all'
  return f'for one of {size(facts)} equal tokens, {order}'


def angles(facts: Grid) -> str | None:
  """Returns the line about angles per position, or None if nothing rotates."""
  if not facts.theta.shape[1]:
    return None
  told = []
  for axis, theta_C in enumerate(np.abs(facts.theta)):
    theta_C = theta_C[theta_C > 0]
    told.append(f'axis {axis}: {len(theta_C)}' + (
      f', wavelengths {figure(2 * np.pi / theta_C.max())} to '
      f'{figure(2 * np.pi / theta_C.min())} positions' if len(theta_C) else ''
    ))
  return f'{facts.theta.shape[1]} planes or sinusoids; {"; ".join(told)}'


def cells(query: Query) -> list[tuple[int, ...]]:
  """Returns the cells of the table: 0, 1, 2, 4, … away on each axis, and the corners."""
  sizes = query.by_head.shape[1:]
  found = [query.cell]
  for axis, size in enumerate(sizes):
    powers = 2 ** np.arange(size.bit_length())
    for i in sorted(query.cell[axis] + step for step in (*powers, *-powers)):
      if 0 <= i < size:
        found.append((*query.cell[:axis], int(i), *query.cell[axis + 1 :]))
  corners = itertools.product(*((0, size - 1) for size in sizes))
  return [*dict.fromkeys([*found, *corners])]


def table(facts: Grid, query: Query) -> list[list[str]]:
  """Returns rows of cells: the number of each head for each key; the first row has the heads."""
  rows = [[f'{facts.kind}, query {place(query.cell)}', *facts.heads]]
  for cell in cells(query):
    numbers = [number(query.by_head[n, *cell]) for n in facts.heads.values()]
    rows.append([f'key {place(cell)}', *numbers])
  return rows


def numbers(facts: Grid) -> str:
  """Returns the table of each query and, if something rotates, the table of angles."""
  tables = [aligned(table(facts, query)) for query in facts.queries]
  return '\n\n'.join([*tables, *([table_of_angles(facts)] if facts.theta.size else [])])


def table_of_angles(facts: Grid) -> str:
  """Returns a table of theta, a plane in each row; at most MOST_ANGLES rows."""
  P, C = facts.theta.shape
  rows = [['plane', *(f'axis {axis}' for axis in range(P)), 'wavelength']]
  for c in evenly(C, MOST_ANGLES):
    theta_P = facts.theta[:, c]
    fastest = figure(2 * np.pi / np.linalg.norm(theta_P))
    rows.append([f'{c + 1}', *map(number, theta_P), fastest])
  return f'radians per position\n{aligned(rows)}'
