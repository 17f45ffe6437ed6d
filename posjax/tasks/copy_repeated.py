"""Copy repeated: one random symbol `size` times, then the same string again.

Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466 (`rsc` in the released data, with 100 tokens of
T5's vocabulary as symbols): only the length of the answer is hard. A guess that knows the length is
right in one answer of `symbols`, and then in all tokens of it.
"""

import dataclasses

import numpy as np

from posjax.tasks.copy import Copy


@dataclasses.dataclass(frozen=True)
class CopyRepeated(Copy):
  def letters(self, rng: np.random.Generator, size: int) -> np.ndarray:
    """Returns `size` copies of one letter."""
    return np.repeat(super().letters(rng, 1), size)

  def guess_exact(self, size: int) -> float:
    return self.guess(size)
