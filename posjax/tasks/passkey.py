"""Passkey: find a number in a row of filler.

Mohtashami and Jaggi 2023, "Landmark attention: random-access infinite context length for
Transformers", NeurIPS, arXiv 2305.16300. A row is BOS, filler, # and the digits of the key, filler,
?#, SEP, the digits of the key, EOS. The key is at a uniformly drawn slot of the filler; three more
tests, the depths of a "needle in a haystack", have it in the first, second and last third.

The paper describes the task in the prompt, states the key twice, draws it from 1 to 50,000, starts
the filler again after the key, and makes 50 trials for each length. Here a key has `digits`
uniformly drawn digits, zeros in front included, and the filler goes on: a guess reaches a token
accuracy of 1/10 and an exact match of 10^-digits.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.haystack import DIGITS, Needle, Problem

MARKER, QUERY = np.array([*b'#']), np.array([*b'?#'])


@dataclasses.dataclass(frozen=True)
class Passkey(Needle):
  digits: int = 5  # digits of the key

  def check(self, length: int) -> None:
    if self.digits < 1:
      raise ValueError(f'digits = {self.digits}: must be positive')
    super().check(length)

  def draw(self, rng: np.random.Generator) -> Problem:
    key = rng.choice(DIGITS, size=self.digits)
    return Problem([np.concatenate([MARKER, key])], QUERY, key)

  def guess(self, size: int) -> float:
    return 1 / 10

  def guess_exact(self, size: int) -> float:
    return 10.0**-self.digits
