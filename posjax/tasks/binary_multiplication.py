"""Binary multiplication: the product of two binary numbers, low digits first.

A context-sensitive language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. Both
numbers have zeros up to their number of digits, are separated by *, and are never 0. The product
has no such zeros. A question of two tokens has the answer 0, of one token an empty answer. A guess
reaches about 1/2, 0.57 at 8 tokens (an estimate from samples).
"""

import dataclasses

import numpy as np

from posjax.tasks.core.binary import little_endian, operands
from posjax.tasks.core.chomsky import Terminated


@dataclasses.dataclass(frozen=True)
class BinaryMultiplication(Terminated):
  def slots(self, size: int) -> int:
    return size

  def problem(self, rng: np.random.Generator, size: int) -> tuple[str, str]:
    if size <= 2:
      return little_endian(int(rng.integers(2**size - 1)), size), '0' * (size - 1)
    a, b, a_digits, b_digits = operands(rng, size)
    return f'{little_endian(a, a_digits)}*{little_endian(b, b_digits)}', little_endian(a * b)
