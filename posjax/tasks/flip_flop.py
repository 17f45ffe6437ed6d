"""Flip-flop language: write a bit, and read it later among distractors of the same form.

Liu et al. 2023, "Exposing attention glitches with flip-flop language modeling", arXiv 2306.00946.
A row is a sequence of pairs of an instruction and a bit: w writes the bit, i means ignore it, r
reads the last bit written. The first instruction is w, the last is r; each other one is i with
probability `ignore`, otherwise w or r with equal probability. A bit after r is the last bit
written, and only these bits have a loss and are scored; all other bits are random.

The tests have the density of writes of training, a dense one and a sparse one. A baseline without
the order of writes answers the majority of the bits written so far; its share of correct reads is
printed next to each result.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax import data
from posjax.batch import Batch, Example
from posjax.tasks.core.generated import Generated, identity
from posjax.tasks.core.task import Data, Task, Test

WRITE, IGNORE, READ, ZERO = (ord(c) for c in 'wir0')


@dataclasses.dataclass(frozen=True)
class FlipFlop(Task):
  ignore: float = 0.8  # share of instructions to ignore, in training
  dense: float = 0.1  # share of instructions to ignore, in the dense test
  sparse: float = 0.98  # share of instructions to ignore, in the sparse test
  rows: int = 256  # rows of a test at each length
  vocabulary = data.TEXT
  best = 'nats/read'
  shown = ('reads right',)
  evaluation = ('dense', 'sparse', 'rows')

  def check(self, length: int) -> None:
    for name in ('ignore', 'dense', 'sparse'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'{name} = {getattr(self, name)}: must be in [0, 1)')
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')
    if length < 4:
      raise ValueError(f'train.length = {length}: must be at least 4, one write and one read')

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    make = lambda n, ignore: functools.partial(make_example, pairs=n // 2, ignore=ignore)
    tests = {}
    for name, ignore in (
      ('as trained', self.ignore), ('dense', self.dense), ('sparse', self.sparse)
    ):
      made = {n: Generated(make(n, ignore), 'test', self.rows) for n in lengths}
      title = f'{name}: {self.rows:,} rows, ignore = {ignore}'
      guesses = {n: floor(rows[i][0] for i in range(self.rows)) for n, rows in made.items()}
      tests[name] = Test(
        title, {n: rows.rows(n, n) for n, rows in made.items()},
        {n: {'reads right': guess} for n, guess in guesses.items()},
      )
    train = make(length, self.ignore)
    return Data(
      **identity(self), train=Generated(train, 'train'),
      validation=Generated(train, 'validation', 1024).rows(length, length), tests=tests,
    )

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    right_BT = jnp.argmax(outputs, axis=-1) == batch.targets
    return {
      'reads right': (right_BT, batch.weights),
      'nats/read': (self.loss(outputs, batch), batch.weights),
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


def floor(examples: Iterable[Example]) -> float:
  """Returns the share of reads answered by the majority of earlier writes; a tie counts half."""
  right = reads = 0
  for example in examples:
    instructions, bits = example.x[0::2], example.targets[0::2] - ZERO
    ones = np.cumsum((instructions == WRITE) * (2 * bits - 1))  # minus zeros
    asked = instructions == READ
    right += np.sum(0.5 + 0.5 * np.sign(ones[asked]) * (2 * bits[asked] - 1))
    reads += asked.sum()
  return float(right / reads)
