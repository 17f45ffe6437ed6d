"""Duplicate string: a bit string, twice.

A context-sensitive language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. A guess
reaches 1/2.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Chomsky


@dataclasses.dataclass(frozen=True)
class DuplicateString(Chomsky):
  def longest(self, size: int) -> tuple[int, int]:
    return size, 2 * size

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    bits = ZERO + rng.integers(2, size=size)
    return bits, np.tile(bits, 2)

  def guess(self, size: int) -> float:
    """Returns the accuracy of a guess that does not see its own first half."""
    return 0.5
