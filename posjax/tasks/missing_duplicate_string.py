"""Missing duplicate string: the missing bit of a string that stands twice.

A context-sensitive language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. The
question is a string of bits, twice, with ? for a bit at a uniform place; an odd size ends with _.
The answer is the bit. A guess reaches 1/2; a question of one token is 1 with the answer 1.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Label, tokens

MISSING, PADDING = ord('?'), ord('_')


@dataclasses.dataclass(frozen=True)
class MissingDuplicateString(Label):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size == 1:
      return tokens('1'), tokens('1')
    bits = np.tile(ZERO + rng.integers(2, size=size // 2), 2)
    place = rng.integers(len(bits), size=1)
    answer = bits[place]
    bits[place] = MISSING
    return np.append(bits, [PADDING] * (size % 2)).astype(np.int32), answer

  def guess(self, size: int) -> float:
    return 1.0 if size == 1 else 0.5
