"""Flip-flop language: a bit is written, ignored and read among distractors of the same form.

Liu et al. 2023, "Exposing attention glitches with flip-flop language modeling", arXiv 2306.00946.
A row is pairs of an instruction and a bit: w writes the bit, i is to be ignored, r reads the last
bit written. The first instruction is w, the last r; the others are i with probability `ignore`,
else w or r alike. Bits are random but after r, and those alone are learned and scored.

Tests have the training's density of writes, a dense and a sparse one. A guess that does not know
the order answers what most writes so far had: what it reaches is printed with each share of reads.
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
from posjax.tasks.core.strings import Generated, identity
from posjax.tasks.core.task import Data, Task, Test

WRITE, IGNORE, READ, ZERO = (ord(c) for c in 'wir0')


@dataclasses.dataclass(frozen=True)
class FlipFlop(Task):
  ignore: float = 0.8  # share of instructions to ignore, in training
  dense: float = 0.1  # in the dense test
  sparse: float = 0.98  # in the sparse one
  rows: int = 256  # that a test has at each length
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
      raise ValueError(f'train.length = {length}: must be at least 4, a write and a read')

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    make = lambda n, ignore: functools.partial(make_example, pairs=n // 2, ignore=ignore)
    tests = {}
    for name, ignore in (
      ('as trained', self.ignore), ('dense', self.dense), ('sparse', self.sparse)
    ):
      made = {n: Generated(make(n, ignore), 'test', self.rows) for n in lengths}
      title = f'{name}: {self.rows:,} rows, a share of {ignore} to ignore'
      guesses = {n: floor(rows[i][0] for i in range(self.rows)) for n, rows in made.items()}
      tests[name] = Test(
        title, {n: rows.rows(n) for n, rows in made.items()},
        {n: {'reads right': guess} for n, guess in guesses.items()},
      )
    train = make(length, self.ignore)
    return Data(
      **identity(self), train=Generated(train, 'train'),
      validation=Generated(train, 'validation', 1024).rows(length), tests=tests,
    )

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    right_BT = jnp.argmax(outputs, axis=-1) == batch.targets
    return {
      'reads right': (right_BT, batch.weights),
      'nats/read': (self.loss(outputs, batch), batch.weights),
    }


def make_example(rng: np.random.Generator, *, pairs: int, ignore: float) -> Example:
  """Returns a row of `pairs` instructions and bits, less the last bit, which is a target."""
  shares = [(1 - ignore) / 2, ignore, (1 - ignore) / 2]
  instructions = rng.choice([WRITE, IGNORE, READ], size=pairs, p=shares)
  instructions[0], instructions[-1] = WRITE, READ
  bits = rng.integers(2, size=pairs)
  writes = np.where(instructions == WRITE, np.arange(pairs), 0)
  bits = np.where(instructions == READ, bits[np.maximum.accumulate(writes)], bits)
  tokens = np.stack([instructions, ZERO + bits], axis=1).reshape(-1).astype(np.int32)
  return Example(tokens[:-1], tokens[1:], tokens[:-1] == READ)


def floor(examples: Iterable[Example]) -> float:
  """Returns the share of reads that the majority of the writes so far answers, ties by halves."""
  right = reads = 0
  for example in examples:
    instructions, bits = example.x[0::2], example.targets[0::2] - ZERO
    ones = np.cumsum((instructions == WRITE) * (2 * bits - 1))  # less zeros
    asked = instructions == READ
    right += np.sum(0.5 + 0.5 * np.sign(ones[asked]) * (2 * bits[asked] - 1))
    reads += asked.sum()
  return float(right / reads)
