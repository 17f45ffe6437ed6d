"""Reverse string: a bit string, backwards.

A deterministic context-free language of Delétang et al. 2023, arXiv 2207.02098; see
core/chomsky.py. A guess reaches 1/2.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Chomsky


@dataclasses.dataclass(frozen=True)
class ReverseString(Chomsky):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    bits = ZERO + rng.integers(2, size=size)
    return bits, bits[::-1]

  def guess(self, size: int) -> float:
    return 0.5
