"""Reverse: a string of random symbols, then the same string backwards.

Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466 (`reverse mc` in the released data, with 100
tokens of T5's vocabulary as symbols). A guess is right for one token in `symbols`.
"""

import dataclasses

import numpy as np

from posjax.tasks.copy import Copy


@dataclasses.dataclass(frozen=True)
class Reverse(Copy):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    letters = self.letters(rng, size)
    return letters, letters[::-1]
