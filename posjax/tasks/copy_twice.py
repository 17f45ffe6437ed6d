"""Copy twice: a string of random symbols, then the same string two times.

Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466 (`cmc2x` in the released data). There, a token
separates the two copies, here nothing does. A guess is right for one token in `symbols`.
"""

import dataclasses

import numpy as np

from posjax.tasks.copy import Copy


@dataclasses.dataclass(frozen=True)
class CopyTwice(Copy):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    letters = self.letters(rng, size)
    return letters, np.tile(letters, 2)

  def longest(self, size: int) -> tuple[int, int]:
    return size, 2 * size
