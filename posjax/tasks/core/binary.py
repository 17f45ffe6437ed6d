"""Binary numbers of any size, for tasks of the Chomsky hierarchy."""

import numpy as np


def positive(rng: np.random.Generator, digits: int) -> int:
  """Returns an integer that is uniform in [1, 2**digits - 1]."""
  number = 0
  while not number:
    number = int.from_bytes(rng.bytes(-(-digits // 8)), 'big') >> (-digits % 8)
  return number


def little_endian(number: int, digits: int = 1) -> str:
  """Returns a number in binary, low digits first, with zeros up to `digits`."""
  return f'{number:0{digits}b}'[::-1]


def operands(rng: np.random.Generator, size: int) -> tuple[int, int, int, int]:
  """Returns two positive integers and their numbers of digits, which sum to size - 1.

  The number of digits of the first is uniform in [1, size - 2].
  """
  first = int(rng.integers(1, size - 1))
  second = size - 1 - first
  return positive(rng, first), positive(rng, second), first, second
