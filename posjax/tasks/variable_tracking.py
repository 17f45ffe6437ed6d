"""Variable tracking: list the variables that have a value, along a chain of assignments.

Hsieh et al. 2024, "RULER: what's the real context size of your long-context language models?",
COLM, arXiv 2404.06654, task vt. The first variable of a chain is set to a number, and each of the
next `hops` variables to the one before it:

  … #A=123 … #X=456 … #B=A … #C=B … #Y=X … ?123, then the answer: ABC

The statements of a chain are in order, those of the `chains` interleave at random, and their slots
in the filler are uniformly drawn. Names and numbers of a row are different.

The answer is the names of the asked chain, in order. Each name is predicted from the true names
before it, so that it takes one look-up, not one for each hop. RULER accepts the names in any order,
has four hops, one chain, names of five letters and numbers of five digits; with one chain the
answer is every name that is set, so two are the default here. A guess reaches a token accuracy of
1/26 and, with M = 26^letters, an exact match of 1 / (M (M - 1) … (M - hops)); the names of a chain
drawn at random reach 1/chains.
"""

import dataclasses
import math

import numpy as np

from posjax.tasks.core.haystack import CAPITALS, DIGITS, Haystack, Problem, distinct

MARKER, EQUALS, QUERY = [*b'#'], [*b'='], [*b'?']


@dataclasses.dataclass(frozen=True)
class VariableTracking(Haystack):
  hops: int = 4  # assignments from variable to variable in a chain
  chains: int = 2  # chains in a row; one is asked for
  letters: int = 1  # capital letters of a name
  digits: int = 3  # digits of a number

  def check(self, length: int) -> None:
    for name in ('hops', 'chains'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} = {getattr(self, name)}: must be positive')
    for name, most in (('letters', 4), ('digits', 9)):
      if not 1 <= getattr(self, name) <= most:
        raise ValueError(f'{name} = {getattr(self, name)}: must be in [1, {most}]')
    names = self.chains * (self.hops + 1)
    if names > 26**self.letters:
      raise ValueError(
        f'letters = {self.letters}: makes {26**self.letters:,} names, but {self.chains:,} chains '
        f'of {self.hops:,} hops have {names:,}'
      )
    if self.chains > 10**self.digits:
      raise ValueError(
        f'digits = {self.digits}: makes {10**self.digits:,} numbers for {self.chains:,} chains'
      )
    super().check(length)

  def draw(self, rng: np.random.Generator) -> Problem:
    count = self.hops + 1
    names = distinct(rng, self.chains * count, self.letters, CAPITALS)
    numbers = distinct(rng, self.chains, self.digits, DIGITS)
    names = names.reshape(self.chains, count, self.letters)
    step = np.zeros(self.chains, int)  # statements of each chain so far
    needles = []
    for chain in rng.permutation(np.repeat(np.arange(self.chains), count)):
      k = step[chain]
      right = names[chain, k - 1] if k else numbers[chain]
      needles.append(np.concatenate([MARKER, names[chain, k], EQUALS, right]))
      step[chain] += 1
    return Problem(needles, np.append(QUERY, numbers[0]), names[0].ravel())

  def places(
    self, rng: np.random.Generator, needles: int, slots: int
  ) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(needles), np.sort(rng.integers(slots, size=needles))

  def guess(self, size: int) -> float:
    return 1 / 26

  def guess_exact(self, size: int) -> float:
    return 1 / math.perm(26**self.letters, self.hops + 1)
