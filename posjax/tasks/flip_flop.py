"""Flip-flop language: write a bit, and read it later among distractors of the same form.

Liu et al. 2023, "Exposing attention glitches with flip-flop language modeling", arXiv 2306.00946.
A row is a sequence of pairs of an instruction and a bit: w writes the bit, i means ignore it, r
reads the last bit written. The first instruction is w, the last is r; each other one is i with
probability `ignore`, otherwise w or r with equal probability. A bit after r is the last bit
written, and only these bits have a loss and are scored; all other bits are random.

The tests have the density of writes of training, a dense one and a sparse one. A baseline without
the order of writes answers the majority of the bits written so far; its share of correct reads is
printed next to each result. `changed reads right` scores only the reads after a write that changed
the bit, where that majority is right half of the time.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from posjax import data
from posjax.batch import Batch, Example
from posjax.tasks.core.labels import Labels, Variant

WRITE, IGNORE, READ, ZERO = (ord(c) for c in 'wir0')


@dataclasses.dataclass(frozen=True)
class FlipFlop(Labels):
  ignore: float = 0.8  # share of instructions to ignore, in training
  dense: float = 0.1  # share of instructions to ignore, in the dense test
  sparse: float = 0.98  # share of instructions to ignore, in the sparse test
  rows: int = 256  # rows of a test at each length
  vocabulary = data.TEXT
  best = 'nats/read'
  shown = ('reads right',)
  evaluation = ('dense', 'sparse', 'rows')
  shortest = 4

  def check(self, length: int) -> None:
    for name in ('ignore', 'dense', 'sparse'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'{name} = {getattr(self, name)}: must be in [0, 1)')
    super().check(length)

  def make(self, rng: np.random.Generator, length: int) -> Example:
    return make_example(rng, pairs=length // 2, ignore=self.ignore)

  def variants(self) -> dict[str, Variant]:
    shares = {'as trained': self.ignore, 'dense': self.dense, 'sparse': self.sparse}
    made = lambda rng, length, ignore: make_example(rng, pairs=length // 2, ignore=ignore)
    return {
      name: Variant(f'ignore = {ignore}', functools.partial(made, ignore=ignore))
      for name, ignore in shares.items()
    }

  def guess(self, rows: Batch) -> np.ndarray:
    """Returns 1 where the majority of earlier writes is the target, 0.5 where there is none."""
    sign_BT = 2 * (rows.targets - ZERO) - 1
    ones_BT = np.cumsum((rows.stream.x == WRITE) * sign_BT, axis=1)  # minus zeros
    return 0.5 + 0.5 * np.sign(ones_BT) * sign_BT

  def scores(self, right_BU: jax.Array, rows: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    pick = functools.partial(jnp.take_along_axis, axis=1)
    places_T = jnp.arange(rows.targets.shape[1])
    last_BT = jax.lax.cummax(jnp.where(rows.stream.x == WRITE, places_T, 0), axis=1)
    before_BT = pick(last_BT, jnp.maximum(last_BT - 1, 0))  # the first token is a write
    changed_BT = pick(rows.targets, last_BT) != pick(rows.targets, before_BT)
    return {
      'reads right': (right_BU, rows.weights),
      'changed reads right': (right_BU, rows.weights & changed_BT),
    }


def make_example(rng: np.random.Generator, *, pairs: int, ignore: float) -> Example:
  """Returns a row of `pairs` instructions and bits, without the last bit, which is a target."""
  shares = [(1 - ignore) / 2, ignore, (1 - ignore) / 2]
  instructions = rng.choice([WRITE, IGNORE, READ], size=pairs, p=shares)
  instructions[0], instructions[-1] = WRITE, READ
  bits = rng.integers(2, size=pairs)
  writes = np.where(instructions == WRITE, np.arange(pairs), 0)
  bits = np.where(instructions == READ, bits[np.maximum.accumulate(writes)], bits)
  tokens = np.stack([instructions, ZERO + bits], axis=1).reshape(-1).astype(np.int32)
  return Example(tokens[:-1], tokens[1:], tokens[:-1] == READ)
