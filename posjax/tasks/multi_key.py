"""Multi-key retrieval: find the value of one of several keys in a row of filler.

Hsieh et al. 2024, "RULER: what's the real context size of your long-context language models?",
COLM, arXiv 2404.06654, task niah_multikey. A row is BOS, filler with `pairs` needles, each a key
and the digits of its value, then ? and a key, SEP, the digits of its value, EOS. The keys of a row
are different words of capital letters. All needles are at uniformly drawn slots of the filler;
three more tests have the asked one in the first, second and last third.

RULER has keys of two English words, values of seven digits, four pairs, and two more tasks that
fill the haystack with pairs: raise `pairs` and `letters` for these.

A guess reaches a token accuracy of 1/10 and an exact match of 10^-digits. A model that reads the
haystack but not the key can answer the value of a random pair: its exact match is about 1/pairs.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.haystack import CAPITALS, DIGITS, Needle, Problem, distinct

QUERY = [*b'?']


@dataclasses.dataclass(frozen=True)
class MultiKey(Needle):
  pairs: int = 4  # keys with a value in a row
  letters: int = 1  # capital letters of a key
  digits: int = 3  # digits of a value

  def check(self, length: int) -> None:
    for name, least in (('pairs', 2), ('digits', 1)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least {least}')
    if not 1 <= self.letters <= 4:
      raise ValueError(f'letters = {self.letters}: must be in [1, 4]')
    if self.pairs > 26**self.letters:
      raise ValueError(
        f'letters = {self.letters}: makes {26**self.letters:,} keys for {self.pairs:,} pairs'
      )
    super().check(length)

  def draw(self, rng: np.random.Generator) -> Problem:
    keys = distinct(rng, self.pairs, self.letters, CAPITALS)
    values = rng.choice(DIGITS, size=(self.pairs, self.digits))
    needles = np.concatenate([keys, values], axis=1)
    return Problem([*needles], np.append(QUERY, keys[0]), values[0])

  def guess(self, size: int) -> float:
    return 1 / 10

  def guess_exact(self, size: int) -> float:
    return 10.0**-self.digits
