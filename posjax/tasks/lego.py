"""LEGO: follow a chain of assignments of +1, -1 or another variable with a sign.

Zhang et al. 2022, "Unveiling transformers with LEGO", arXiv 2206.04301; here as in Kazemnejad et
al. 2023, NeurIPS, arXiv 2305.19466 (train on up to 8 variables, test on up to 16). The size is the
number of variables, all different letters. The first is +1 or -1, each next one is the one before
it with a random sign; the question asks for a variable of the second half of the chain:

  a=+1;b=-a;c=+b;d=-c?c  ->  -

There are 52 letters rather than 26, so that a chain can have 52 variables; a test at longer rows
has 52, too. The answer is one token, the sign. Signs are independent and uniform: a guess is right
in half of the cases. There is no scratchpad.
"""

import dataclasses
import string

import numpy as np

from posjax.tasks.core.strings import Strings

LETTERS = np.frombuffer(string.ascii_letters.encode(), np.uint8)
SIGNS = np.frombuffer(b'+-', np.uint8)


@dataclasses.dataclass(frozen=True)
class Lego(Strings):
  shuffled: bool = False  # whether the assignments are in random order

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    names = rng.permutation(LETTERS)[:size]
    signs = rng.integers(2, size=size)
    asked = size - 1 - int(rng.integers(max(1, size // 2)))
    clauses = np.empty((size, 5), np.int32)  # such as b=-a;
    clauses[:, 0], clauses[:, 1], clauses[:, 2] = names, ord('='), SIGNS[signs]
    clauses[0, 3], clauses[1:, 3], clauses[:, 4] = ord('1'), names[:-1], ord(';')
    if self.shuffled:
      clauses = rng.permutation(clauses)
    clauses[-1, 4] = ord('?')
    return np.append(clauses, names[asked]), SIGNS[signs[: asked + 1].sum(keepdims=True) % 2]

  def longest(self, size: int) -> tuple[int, int]:
    return 5 * size + 1, 1

  def largest(self, length: int) -> int:
    return min(super().largest(length), len(LETTERS))

  def guess(self, size: int) -> float:
    return 1 / 2
