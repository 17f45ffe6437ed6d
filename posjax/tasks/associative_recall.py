"""Associative recall: the value that one key had earlier in the row.

Ba et al. 2016, arXiv 1610.06258; Fu et al. 2022, "Hungry hungry hippos", arXiv 2212.14052, by the
rules of the code of Hyena (Poli et al. 2023, arXiv 2302.10866). Of the `symbols` - 2 ordinary
tokens, the first half are keys and the others values. A row draws a value for each key, with
replacement, then pairs of a random key and its value, and ends with `=>` and a key of the row; its
value is the only target. With `unseen`, the last key is any key, and the answer for one that the
row does not have is `.`.

That code also has keys of several tokens, which are left out here, and trains on all tokens. A
guess that is blind to order answers the most frequent value of the row, and `.` for an absent key.
"""

import dataclasses

import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.labels import Labels, most_frequent


@dataclasses.dataclass(frozen=True)
class AssociativeRecall(Labels):
  symbols: int = 16  # different tokens, of which two are `=>` and `.`
  unseen: bool = False  # ask for absent keys, too

  @property
  def vocabulary(self) -> int:
    return self.symbols

  @property
  def shortest(self) -> int:
    return 4

  def check(self, length: int) -> None:
    super().check(length)
    if self.symbols < 6:
      raise ValueError(f'symbols = {self.symbols}: must be at least 6')

  def make(self, rng: np.random.Generator, length: int) -> Example:
    ordinary, ask, absent = self.symbols - 2, self.symbols - 2, self.symbols - 1
    half = ordinary // 2
    values = rng.integers(half, ordinary, size=half)
    keys = rng.integers(half, size=length // 2 - 1)
    key = rng.integers(half)
    if not self.unseen and key not in keys:
      key = rng.choice(np.unique(keys))
    pairs = np.stack([keys, values[keys]], axis=1).reshape(-1)
    answer = values[key] if key in keys else absent
    tokens = np.concatenate([pairs, [ask, key, answer]]).astype(np.int32)
    return Example(tokens[:-1], tokens[1:], np.arange(len(tokens) - 1) == len(tokens) - 2)

  def guess(self, rows: Batch) -> np.ndarray:
    ordinary, absent = self.symbols - 2, self.symbols - 1
    found = most_frequent(rows.stream.x, rows.targets, ordinary // 2, ordinary)
    return np.where(rows.targets == absent, 1.0, found)
