"""Bucket sort: a string of the symbols 0 to 4, sorted.

A context-sensitive language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. One
token for all slots reaches about 1/5. The guess takes the likeliest token of each slot, and reaches
0.78 at 41 tokens, 0.94 at 500: compare a score at a longer length with the guess at that length.
"""

import dataclasses
import math

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Chomsky

SYMBOLS = 5


@dataclasses.dataclass(frozen=True)
class BucketSort(Chomsky):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    symbols = ZERO + rng.integers(SYMBOLS, size=size)
    return symbols, np.sort(symbols)

  def guess(self, size: int) -> float:
    """Returns the mean over the slots of the share of the likeliest symbol, exactly.

    Slot i holds a symbol of at most s if more than i symbols are at most s, a binomial number.
    """
    at_most_SU = np.zeros((SYMBOLS + 1, size))
    for s in range(1, SYMBOLS + 1):
      counts = [
        math.comb(size, n) * s**n * (SYMBOLS - s) ** (size - n) / SYMBOLS**size
        for n in range(1, size + 1)
      ]
      at_most_SU[s] = np.cumsum(counts[::-1])[::-1]
    return float(np.diff(at_most_SU, axis=0).max(axis=0).mean())
