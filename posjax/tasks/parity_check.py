"""Parity check: the number of ones in a bit string, modulo 2.

A regular language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. A guess reaches
1/2.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Label


@dataclasses.dataclass(frozen=True)
class ParityCheck(Label):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    bits = rng.integers(2, size=size)
    return ZERO + bits, ZERO + np.array([bits.sum() % 2])

  def guess(self, size: int) -> float:
    return 0.5
