"""Transfers weights from one model to another, layer by layer.

Layer l takes its weights from layer l of the source, whatever pattern either model tiles over its
depth. An encoding takes its weights from the same encoding in that layer, alone or in a chain. All
other weights keep their initial values. A report names every weight.
"""

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from posjax.dims import letters
from posjax.encodings import name_of, parts_of
from posjax.models.transformer import Transformer
from posjax.optimizer import named


class Leaf(NamedTuple):
  """A weight array: its path, and the names of the weights along its layer axis.

  Each entry of `holds` names the same weight in any model, ('layer', 3, 'mlp', 'up_DF'). An array
  without a layer axis holds one weight, under several names if several layers share it. `grows` is
  the letter of an axis that may be longer in the target, since its first rows keep their meaning;
  or ''.
  """

  path: tuple[str, ...]
  shape: tuple[int, ...]  # of one layer
  layers: int | None  # length of the first axis, the layer axis; None: no layer axis
  holds: tuple[tuple, ...]
  grows: str

  def __str__(self) -> str:
    return '/'.join(self.path)

  def matches(self, patterns: Sequence[str]) -> bool:
    return named(str(self), patterns)

  def takes(self, other: 'Leaf') -> bool:
    """Returns whether a weight of array `other` fits into this array, or into its first rows."""
    axes = letters(self.path[-1])[-len(self.shape) :] if self.shape else ''
    return len(self.shape) == len(other.shape) and all(
      new == old or (new > old and axis and axis in self.grows)
      for new, old, axis in itertools.zip_longest(self.shape, other.shape, axes)
    )


class Row(NamedTuple):
  """A weight in the source: an array and, if it is stacked, the index along its layer axis."""

  leaf: Leaf
  index: int | None


class Taken(NamedTuple):
  """The source of a target array: a `Row` for each of its rows; None: it keeps its initial value.

  `why` is the reason that rows are not taken.
  """

  leaf: Leaf
  rows: tuple[Row | None, ...]
  why: str

  @property
  def complete(self) -> bool:
    return all(row and row.leaf.shape == self.leaf.shape for row in self.rows)

  def __str__(self) -> str:
    taken = [i for i, row in enumerate(self.rows) if row]
    if not taken:
      return f'fresh: {self.why}'
    source = self.rows[taken[0]].leaf
    longer = [m for m, n in zip(source.shape, self.leaf.shape, strict=True) if m < n]
    text = f'taken, the first {longer[0]:,} rows' if longer else 'taken'
    if len(taken) < len(self.rows):
      layers = [name[1] for name in self.leaf.holds]
      text += f' in layers {listed(layers[i] for i in taken)}, fresh in the others: {self.why}'
    return text


def leaves(model: Transformer, params: Any) -> list[Leaf]:
  """Returns a `Leaf` for each array of a model's weights; `params` may hold shapes only."""
  return [
    _leaf(model, tuple(key.key for key in path), array.shape)
    for path, array in jax.tree_util.tree_leaves_with_path(params)
  ]


def _leaf(model, path, shape):
  section, *rest = path
  if section == 'encoder':
    leaf = _leaf(model.encoder, tuple(rest), shape)
    return leaf._replace(path=path, holds=tuple(('encoder', *name) for name in leaf.holds))
  if section == 'layers':
    block, *weight = rest
    first = int(block.removeprefix('block_'))
    holds = tuple(('layer', i, *weight) for i in range(first, model.layers, len(model.pattern)))
    return Leaf(path, shape[1:], shape[0], holds, '')
  if section not in ('encoding', 'cross'):
    return Leaf(path, shape, None, (path,), 'V')  # a larger tokenizer appends new tokens
  pattern = model.pattern if section == 'encoding' else model.cross
  name, *weight = rest
  parts = parts_of(pattern.by_name[name])
  if len(parts) == 1:  # a chain already names its parts
    weight = [name_of(parts[0]), *weight]
  part = next(part for part in parts if name_of(part) == weight[0])
  names = [own.encoding for own in pattern.layers()] * model.groups
  layers = [i for i, own in enumerate(names) if own == name]
  holds = tuple(('layer', i, section, *weight) for i in layers)
  grows = 'R' if path[-1] in part.longer_tables else ''
  if letters(path[-1]).startswith('L'):
    return Leaf(path, shape[1:], shape[0], holds, grows)
  return Leaf(path, shape, None, holds, grows)


def plan(source: list[Leaf], target: list[Leaf], fresh: Sequence[str] = ()) -> list[Taken]:
  """Returns the source of each target array, as a list of `Taken`.

  Args:
    source: the `leaves` of the source model.
    target: the `leaves` of the target model.
    fresh: patterns of paths, such as 'encoding/*', of arrays that keep their initial values.
  """
  there = {
    name: Row(leaf, None if leaf.layers is None else i)
    for leaf in source for i, name in enumerate(leaf.holds)
  }
  return [_take(leaf, there, fresh) for leaf in target]


def _take(leaf, there, fresh):
  found = [there.get(name) for name in leaf.holds]
  if leaf.layers is None:  # layers that share an array take it from the first layer that has it
    found = [next(filter(None, found), None)]
  if leaf.matches(fresh):
    return Taken(leaf, (None,) * len(found), 'init.fresh names it')
  rows = tuple(row if row and leaf.takes(row.leaf) else None for row in found)
  misfit = [row.leaf.shape for row, taken in zip(found, rows, strict=True) if row and not taken]
  why = f'the source has {misfit[0]}, not {leaf.shape}' if misfit else 'not in the source'
  return Taken(leaf, rows, why)


def dropped(source: list[Leaf], taken: list[Taken]) -> list[tuple[Leaf, str]]:
  """Returns [(leaf, text)] for the source weights that the target does not take."""
  used = {row for each in taken for row in each.rows}
  texts = []
  for leaf in source:
    rows = [Row(leaf, i) for i in range(leaf.layers or 0)] or [Row(leaf, None)]
    left = [i for i, row in enumerate(rows) if row not in used]
    if len(left) == len(rows):
      texts.append((leaf, 'dropped'))
    elif left:
      texts.append((leaf, f'dropped in layers {listed(leaf.holds[i][1] for i in left)}'))
  return texts


def fill(taken: list[Taken], params: Any, source: Any) -> Any:
  """Returns the weights `params`, with values from the weights `source` where `taken` has rows."""
  by_path = {each.leaf.path: each for each in taken}

  def take(first, row):
    if row is None:
      return first
    old = functools.reduce(lambda tree, key: tree[key], row.leaf.path, source)
    old = old if row.index is None else old[row.index]
    return first.at[tuple(map(slice, old.shape))].set(old)

  def of(path, first):
    leaf, rows, _ = by_path[tuple(key.key for key in path)]
    return take(first, *rows) if leaf.layers is None else jnp.stack([*map(take, first, rows)])

  return jax.tree_util.tree_map_with_path(of, params)


def listed(numbers: Iterable[int]) -> str:
  """Returns '0 to 3, 6' for 0, 1, 2, 3, 6."""
  runs = []
  for n in numbers:
    if runs and n == runs[-1][-1] + 1:
      runs[-1] = (runs[-1][0], n)
    else:
      runs.append((n, n))
  return ', '.join(str(a) if a == b else f'{a} to {b}' for a, b in runs)
