"""Binary addition: the sum of two binary numbers, low digits first.

A context-sensitive language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. Both
numbers have zeros up to their number of digits, are separated by +, and are never 0. The sum has no
such zeros. Questions of up to two tokens are a number with the same number as the answer. A guess
reaches about 1/2 (an estimate from samples).
"""

import dataclasses

import numpy as np

from posjax.tasks.core.binary import little_endian, operands
from posjax.tasks.core.chomsky import Terminated


@dataclasses.dataclass(frozen=True)
class BinaryAddition(Terminated):
  def problem(self, rng: np.random.Generator, size: int) -> tuple[str, str]:
    if size <= 2:
      number = int(rng.integers(2**size - 1))
      return little_endian(number, size), little_endian(number)
    a, b, a_digits, b_digits = operands(rng, size)
    return f'{little_endian(a, a_digits)}+{little_endian(b, b_digits)}', little_endian(a + b)
