"""Even pairs: is the number of 01 and 10 in a bit string even (0) or odd (1)?

A regular language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. The answer is 1
if and only if the first and the last bit differ. A guess reaches 1/2; one bit has no pair, so that
the answer is 0.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Label


@dataclasses.dataclass(frozen=True)
class EvenPairs(Label):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    bits = rng.integers(2, size=size)
    return ZERO + bits, ZERO + (bits[:1] ^ bits[-1:])

  def guess(self, size: int) -> float:
    return 1.0 if size == 1 else 0.5
