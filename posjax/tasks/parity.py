"""Parity: whether a string of bits has an even number of ones.

Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466 (`parity` in the released data; train on up to 8
bits, test on up to 16): the answer is Y for an even number, otherwise N. There is no scratchpad.
Bits are independent and uniform: a guess is right in half of the cases. `parity_check` is the same
language in the layout of another suite.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.strings import Strings

ANSWERS = np.frombuffer(b'YN', np.uint8)


@dataclasses.dataclass(frozen=True)
class Parity(Strings):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    bits = rng.integers(2, size=size)
    return ord('0') + bits, ANSWERS[bits.sum(keepdims=True) % 2]

  def longest(self, size: int) -> tuple[int, int]:
    return size, 1

  def guess(self, size: int) -> float:
    return 1 / 2
