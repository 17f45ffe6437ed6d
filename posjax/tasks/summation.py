"""Summation: the sum of digits 1 to 9, modulo 10.

Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466 (`sum` in the released data; train on up to 8
digits, test on up to 16). The question is the digits, without '+' between them; there is no
scratchpad.

The distribution of a digit is (10 uniform - zero) / 9, so that of the sum of n digits differs from
the uniform one by (-1/9)^n. The guess is its likeliest value: 0 if n is even, any other otherwise.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.strings import Strings


@dataclasses.dataclass(frozen=True)
class Summation(Strings):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    digits = rng.integers(1, 10, size=size)
    return ord('0') + digits, ord('0') + digits.sum(keepdims=True) % 10

  def longest(self, size: int) -> tuple[int, int]:
    return size, 1

  def guess(self, size: int) -> float:
    deviation = (-1 / 9) ** size / 10
    return 1 / 10 + max(9 * deviation, -deviation)
