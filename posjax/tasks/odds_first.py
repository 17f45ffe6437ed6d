"""Odds first: the bits with an odd index, then those with an even index; the first index is 0.

A context-sensitive language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. A guess
reaches 1/2.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Chomsky


@dataclasses.dataclass(frozen=True)
class OddsFirst(Chomsky):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    bits = ZERO + rng.integers(2, size=size)
    return bits, np.concatenate([bits[1::2], bits[0::2]])

  def guess(self, size: int) -> float:
    return 0.5
