"""Key-value retrieval: return the value that a key has in this row.

An easy form of `mqar` (Arora et al. 2023, "Zoology", arXiv 2312.04927) that a small model learns
at short rows. A row is a sequence of slots, each a key and its value, or two fillers (token 0). It
draws `present` of the keys, and a value for each, with replacement. Half of the training rows are
streams, the other half have a list and queries:

  stream  each slot is a pair of one of the first m keys, m uniform in 2 to `present`; the value of
          a key that the row has already shown is a target
  mqar    first a pair for each key, then each key once more with its value, in slots at random;
          the other slots are fillers; the second values are the targets
  far     the same, with all second pairs among the last 2 * `present` slots

Each target is predicted at its key. A guess that knows which values the row has shown, but not of
which keys, answers the one that most of these keys have. With the default sizes it is right with
probability 0.41 in `mqar` and `far`, where a random one of the values is with 0.34, and one that
also rules out the values already answered with 0.61.
"""

import dataclasses

import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.labels import Labels, Variant, most_frequent


@dataclasses.dataclass(frozen=True)
class KeyValue(Labels):
  nkeys: int = 8  # different keys
  nvalues: int = 8  # different values
  present: int = 4  # keys of a row

  @property
  def vocabulary(self) -> int:
    return 1 + self.nkeys + self.nvalues

  @property
  def shortest(self) -> int:
    return 6 * self.present

  def check(self, length: int) -> None:
    super().check(length)
    for name in ('nkeys', 'nvalues'):
      if getattr(self, name) < 2:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least 2')
    if not 2 <= self.present <= self.nkeys:
      raise ValueError(f'present = {self.present}: must be in [2, {self.nkeys}], up to nkeys')

  def make(self, rng: np.random.Generator, length: int) -> Example:
    return self.stream(rng, length) if rng.random() < 0.5 else self.mqar(rng, length)

  def variants(self) -> dict[str, Variant]:
    return {
      'stream': Variant('all slots are pairs', self.stream),
      'mqar': Variant('queries in slots at random', self.mqar),
      'far': Variant(f'queries among the last {2 * self.present} slots', self.far),
    }

  def guess(self, rows: Batch) -> np.ndarray:
    answered = np.pad(rows.weights, [(0, 0), (1, 0)])[:, :-1]
    shown = np.where(answered, 0, rows.stream.x)
    return most_frequent(shown, rows.targets, 1 + self.nkeys, self.vocabulary)

  def stream(self, rng: np.random.Generator, length: int) -> Example:
    pairs = self.pairs(rng)
    own = rng.integers(rng.integers(2, self.present + 1), size=length // 2)
    shown = np.ones(len(own), bool)
    shown[np.unique(own, return_index=True)[1]] = False
    return example(pairs[own], shown)

  def mqar(self, rng: np.random.Generator, length: int) -> Example:
    return self.queries(rng, length, length // 2 - self.present)

  def far(self, rng: np.random.Generator, length: int) -> Example:
    return self.queries(rng, length, 2 * self.present)

  def queries(self, rng: np.random.Generator, length: int, last: int) -> Example:
    """Returns a row whose queries are among its `last` slots."""
    slots = np.zeros((length // 2, 2), np.int64)
    asked = np.zeros(len(slots), bool)
    places = len(slots) - last + rng.choice(last, size=self.present, replace=False)
    slots[: self.present] = slots[places] = self.pairs(rng)
    asked[places] = True
    return example(slots, asked)

  def pairs(self, rng: np.random.Generator) -> np.ndarray:
    """Returns the keys of a row and their values, [present, 2]."""
    keys = 1 + rng.choice(self.nkeys, size=self.present, replace=False)
    values = 1 + self.nkeys + rng.integers(self.nvalues, size=self.present)
    return np.stack([keys, values], axis=1)


def example(slots: np.ndarray, asked: np.ndarray) -> Example:
  """Returns the row of slots [S, 2], without the last value, which is only a target."""
  tokens = slots.reshape(-1).astype(np.int32)
  weights = np.stack([asked, np.zeros_like(asked)], axis=1).reshape(-1)
  return Example(tokens[:-1], tokens[1:], weights[:-1])
