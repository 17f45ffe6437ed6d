"""The weights of one model for another, layer by layer.

A weight of layer l is taken from layer l of the source, whatever pattern either model tiles over
its depth, and that of an encoding from the same encoding in that layer, whether it stands there
alone or in a chain. What is not taken keeps its first value, and everything is named.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from posjax.dims import letters
from posjax.encodings import name_of, parts_of
from posjax.optimizer import named


class Leaf(NamedTuple):
  """An array of weights: its path, and what it holds row by row along its axis of layers.

  Each entry of `holds` names the same weight in any model, ('layer', 3, 'mlp', 'up_DF'). An array
  that has no axis of layers holds one weight, under several names if several layers share it.
  `grows` is the axis whose first rows mean the same when there are more of them, or ''.
  """

  path: tuple[str, ...]
  shape: tuple[int, ...]  # of one layer
  layers: int | None  # how many are stacked along the first axis; None: it has no such axis
  holds: tuple[tuple, ...]
  grows: str

  def __str__(self):
    return '/'.join(self.path)

  def matches(self, patterns):
    return named(str(self), patterns)

  def takes(self, other):
    """Whether an array's row of another model can stand in this one, or begin it."""
    axes = letters(self.path[-1])[-len(self.shape) :] if self.shape else ''
    return len(self.shape) == len(other.shape) and all(
      new == old or (new > old and axis and axis in self.grows)
      for new, old, axis in itertools.zip_longest(self.shape, other.shape, axes)
    )


class Row(NamedTuple):
  """A weight in the source: an array and, if it is stacked, the index along its axis of layers."""

  leaf: Leaf
  index: int | None


class Taken(NamedTuple):
  """What an array of the target takes: a `Row` for each of its own; None: it keeps its first value.

  `why` says why something is not taken.
  """

  leaf: Leaf
  rows: tuple[Row | None, ...]
  why: str

  @property
  def complete(self):
    return all(row and row.leaf.shape == self.leaf.shape for row in self.rows)

  def __str__(self):
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


def leaves(model, params):
  """The `Leaf` of each array of a model's weights; `params` may be shapes alone."""
  return [
    _leaf(model, tuple(key.key for key in path), array.shape)
    for path, array in jax.tree_util.tree_leaves_with_path(params)
  ]


def _leaf(model, path, shape):
  section, *rest = path
  pattern = model.pattern
  if section == 'layers':
    block, *weight = rest
    first = int(block.removeprefix('block_'))
    holds = tuple(('layer', i, *weight) for i in range(first, model.layers, len(pattern)))
    return Leaf(path, shape[1:], shape[0], holds, '')
  if section != 'encoding':
    return Leaf(path, shape, None, (path,), 'V')  # a tokenizer that grows puts new tokens last
  name, *weight = rest
  parts = parts_of(pattern.by_name[name])
  if len(parts) == 1:  # those of a chain are under the names of its parts
    weight = [name_of(parts[0]), *weight]
  part = next(part for part in parts if name_of(part) == weight[0])
  names = [own.encoding for own in pattern.layers()] * model.groups
  layers = [i for i, own in enumerate(names) if own == name]
  holds = tuple(('layer', i, 'encoding', *weight) for i in layers)
  grows = 'R' if path[-1] in part.longer_tables else ''
  if letters(path[-1]).startswith('L'):
    return Leaf(path, shape[1:], shape[0], holds, grows)
  return Leaf(path, shape, None, holds, grows)


def plan(source, target, fresh=()):
  """What each array of the target takes: a list of `Taken`.

  Args:
    source: the `leaves` of a model.
    target: those of another one.
    fresh: patterns of paths, such as 'encoding/*', that take nothing.
  """
  there = {
    name: Row(leaf, None if leaf.layers is None else i)
    for leaf in source for i, name in enumerate(leaf.holds)
  }
  return [_take(leaf, there, fresh) for leaf in target]


def _take(leaf, there, fresh):
  found = [there.get(name) for name in leaf.holds]
  if leaf.layers is None:  # layers that share it have it of the first one that has it
    found = [next(filter(None, found), None)]
  if leaf.matches(fresh):
    return Taken(leaf, (None,) * len(found), 'init.fresh names it')
  rows = tuple(row if row and leaf.takes(row.leaf) else None for row in found)
  misfit = [row.leaf.shape for row, taken in zip(found, rows, strict=True) if row and not taken]
  why = f'there it is {misfit[0]}, here {leaf.shape}' if misfit else 'not in the source'
  return Taken(leaf, rows, why)


def dropped(source, taken):
  """[(leaf, text)] of what the source has and the target does not take."""
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


def fill(taken, params, source):
  """The weights `params` with what they take from the weights `source`."""
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


def listed(numbers):
  """'0 to 3, 6' of 0, 1, 2, 3, 6."""
  runs = []
  for n in numbers:
    if runs and n == runs[-1][-1] + 1:
      runs[-1] = (runs[-1][0], n)
    else:
      runs.append((n, n))
  return ', '.join(str(a) if a == b else f'{a} to {b}' for a, b in runs)
