"""Selective copy: repeat the symbols of a row in order, without the blanks between them.

Jing et al. 2019, arXiv 1706.02761; Gu and Dao 2023, arXiv 2312.00752; sizes of MAD, Poli et al.
2024, arXiv 2403.17844. Of `symbols` tokens, one is a blank and one the copy token. The row is
`tokens` random symbols at random places among blanks, the copy token, and `tokens` blanks, at which
the symbols are the targets. MAD's generator never has a blank after the last symbol; here all
places are equally likely.

A guess that is blind to order answers the most frequent symbol of the row.
"""

import dataclasses

import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.labels import Labels, most_frequent


@dataclasses.dataclass(frozen=True)
class SelectiveCopy(Labels):
  symbols: int = 16  # different tokens, of which two are the blank and the copy token
  tokens: int = 16  # symbols to copy

  @property
  def vocabulary(self) -> int:
    return self.symbols

  @property
  def shortest(self) -> int:
    return 2 * self.tokens + 2

  def check(self, length: int) -> None:
    for name, least in (('symbols', 4), ('tokens', 1)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least {least}')
    super().check(length)

  def make(self, rng: np.random.Generator, length: int) -> Example:
    blank, copy = self.symbols - 2, self.symbols - 1
    start = length - self.tokens
    string = rng.integers(self.symbols - 2, size=self.tokens)
    x = np.full(length, blank, np.int32)
    x[np.sort(rng.choice(start - 1, size=self.tokens, replace=False))] = string
    x[start - 1] = copy
    targets = np.zeros(length, np.int32)
    targets[start:] = string
    return Example(x, targets, np.arange(length) >= start)

  def guess(self, rows: Batch) -> np.ndarray:
    return most_frequent(rows.stream.x, rows.targets, 0, self.symbols - 2)
