"""Two position axes in a minimal form: RoPE of rows and columns, and a task for it."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from posjax.batch import Example
from posjax.encodings import Encoding
from posjax.encodings.parts.rotation import frequencies, rotate
from posjax.tasks import Data, Task, Test
from posjax.tasks.core.generated import Generated

SIDE = 4


class Grid(Encoding):
  """Rotates half of each head's channels by the row and half by the column."""

  axes = 2

  def query(self, q):
    return q.replace(h=self._rotate(q))

  def key(self, k):
    return k.replace(h=self._rotate(k))

  def _rotate(self, tokens):
    theta = frequencies(self.dims.H // 2, base=100.0)
    halves = jnp.split(tokens.h, 2, axis=-1)
    turned = [rotate(h, tokens.pos[..., axis], theta) for axis, h in enumerate(halves)]
    return jnp.concatenate(turned, axis=-1)


@dataclasses.dataclass(frozen=True)
class Above(Task):
  """Random symbols on a grid in random order; each target is the symbol above, if already seen."""

  vocabulary = 8
  axes = 2
  counts = False
  shown: ClassVar = ('loss',)

  def open(self, corpus, length, lengths):
    rows = lambda split, count: Generated(make, split, count).rows(length, length)
    return Data(
      name='above', sha256='', train=Generated(make, 'train'), validation=rows('validation', 8),
      tests={'above': Test('above', {length: rows('test', 8)})},
    )


def make(rng):
  cells = rng.permutation(SIDE * SIDE)
  row, column = cells // SIDE, cells % SIDE
  symbols = rng.integers(8, size=SIDE * SIDE).astype(np.int32)
  order = np.argsort(cells)  # when a cell is seen
  above = np.where(row > 0, order[cells - SIDE], len(cells))
  seen = above < np.arange(len(cells))
  targets = np.where(seen, symbols[above * seen], 0).astype(np.int32)
  return Example(symbols, targets, seen, np.stack([row, column], axis=1).astype(np.int32))
