"""Multi-query associative recall: the values of several keys, asked later in the same row.

Arora et al. 2023, "Zoology: measuring and improving recall in efficient language models", arXiv
2312.04927. With V = `symbols`, keys are in [1, V/2) and values in [V/2, V), both drawn without
replacement. A row begins with K pairs of a key and a value. Each key is then asked once, at the
even places after the pairs: place i = 1, 2, … is drawn with probability proportional to i^(a-1),
a = 0.01, without replacement, so that most queries are near. The label of a query is its value,
which is not in the input; all other tokens are 0.

Figure 2 of the paper has K = L / 16: (L, K) = (64, 4), (128, 8), (256, 16), with V = 8,192 and
100,000 rows. Here V is smaller by default, rows do not repeat, and V may be less than L. The test
`same pairs` has the K of training at each length, `more pairs` has K = L / `spacing`.

A guess that knows which values the row has, but not of which keys, is right with probability 1/K.
"""

import dataclasses
import functools

import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.labels import Labels, Variant

POWER = 0.01  # the a of the power law


@dataclasses.dataclass(frozen=True)
class Mqar(Labels):
  pairs: int = 4  # keys of a row in training
  symbols: int = 256  # keys and values, and the filler 0
  spacing: int = 16  # tokens of a row for each pair, in the test `more pairs`
  evaluation = ('rows', 'spacing')

  @property
  def vocabulary(self) -> int:
    return self.symbols

  @property
  def shortest(self) -> int:
    return 4 * self.pairs

  def check(self, length: int) -> None:
    super().check(length)
    if self.pairs < 1:
      raise ValueError(f'pairs = {self.pairs}: must be positive')
    if self.symbols < 2 * self.pairs + 2:
      raise ValueError(
        f'symbols = {self.symbols}: must be at least {2 * self.pairs + 2} for {self.pairs} pairs'
      )
    if not 4 <= self.spacing <= length:
      raise ValueError(f'spacing = {self.spacing}: must be in [4, {length}], the training length')

  def make(self, rng: np.random.Generator, length: int) -> Example:
    return self.recall(rng, length, self.pairs)

  def variants(self) -> dict[str, Variant]:
    most = self.symbols // 2 - 1
    more = lambda rng, length: self.recall(rng, length, min(most, length // self.spacing))
    return {
      'same pairs': Variant(f'{self.pairs} pairs', self.make),
      'more pairs': Variant(f'a pair for each {self.spacing} tokens, at most {most}', more),
    }

  def guess(self, rows: Batch) -> np.ndarray:
    pairs_B1 = rows.weights.sum(axis=1, keepdims=True)
    return np.broadcast_to(1 / pairs_B1, rows.weights.shape)

  def recall(self, rng: np.random.Generator, length: int, pairs: int) -> Example:
    """Returns a row with `pairs` pairs and a query of each."""
    half = self.symbols // 2
    keys = 1 + rng.choice(half - 1, size=pairs, replace=False)
    values = half + rng.choice(self.symbols - half, size=pairs, replace=False)
    places = length // 2 - pairs
    x, targets = np.zeros((2, length // 2 * 2), np.int32)
    x[: 2 * pairs : 2], x[1 : 2 * pairs : 2] = keys, values
    asked = rng.choice(places, size=pairs, replace=False, p=power_law(places))
    asked = 2 * (pairs + asked)
    x[asked], targets[asked] = keys, values
    return Example(x, targets, targets > 0)


@functools.lru_cache
def power_law(places: int) -> np.ndarray:
  """Returns the probability of each place, proportional to i^(a-1) for i = 1, 2, …."""
  shares = np.arange(1, places + 1) ** (POWER - 1)
  return shares / shares.sum()
