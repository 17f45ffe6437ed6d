"""Square root: the integer part of the root of a binary number, high digits first.

A context-sensitive language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. The
number is uniform from 1 to 2^size - 1; the root has zeros up to half as many digits, rounded up. A
guess reaches slightly more than 1/2: the first digit of the root is likelier 1.
"""

import dataclasses
import math

import numpy as np

from posjax.tasks.core.binary import positive
from posjax.tasks.core.chomsky import Chomsky, tokens


@dataclasses.dataclass(frozen=True)
class ComputeSqrt(Chomsky):
  def longest(self, size: int) -> tuple[int, int]:
    return size, -(-size // 2)

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    number = positive(rng, size)
    root = f'{math.isqrt(number):0{-(-size // 2)}b}'
    return tokens(f'{number:0{size}b}'), tokens(root)

  def guess(self, size: int) -> float:
    """Returns the mean over the digits of the share of the likelier one, exactly."""
    total = 2**size - 1
    ones = [with_digit(size, place) for place in range(-(-size // 2))]
    return sum(max(count, total - count) / total for count in ones) / len(ones)


def with_digit(size: int, place: int) -> int:
  """Returns how many numbers up to 2^size - 1 have a root whose digit of value 2^place is 1.

  These roots are in [(2 k + 1) 2^place, (2 k + 2) 2^place), and the numbers between their squares.
  """
  complete = math.isqrt(2**size - 1) >> (place + 1)
  first = (2 * complete + 1) << place
  return 4**place * (2 * complete**2 + complete) + max(0, 2**size - first**2)
