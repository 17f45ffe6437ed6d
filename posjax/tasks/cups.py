"""Cups: a ball is under one of several cups, and pairs of cups are swapped. Where is the ball?

A `word_problem` of the symmetric group (Merrill et al. 2024, arXiv 2404.08819) with transpositions
as tokens, and one cup as the label. A row is BOS, with the ball under the first cup, and uniformly
random swaps of two of `cups` cups, a token for each pair. The label of a swap is the cup that then
has the ball.

One reflection per token is a swap, so that a layer of PaTH (Yang et al. 2025, arXiv 2505.16381)
can do it. The guess is the most frequent label. The ball is under the first cup after t swaps with
probability 1/n + (1 - 1/n) (1 - 2/(n-1))^t for n cups: early labels are easy, the last one is not.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np

from posjax.batch import Example
from posjax.tasks.core.labels import Labels
from posjax.tasks.word_problem import row


@dataclasses.dataclass(frozen=True)
class Cups(Labels):
  cups: int = 5  # number of cups
  shown = ('token accuracy', 'last accuracy', 'exact match')

  @property
  def vocabulary(self) -> int:
    return math.comb(self.cups, 2) + 1

  @property
  def outputs(self) -> int:
    return self.cups

  def check(self, length: int) -> None:
    super().check(length)
    if not 3 <= self.cups <= 100:
      raise ValueError(f'cups = {self.cups}: must be in [3, 100]')

  def make(self, rng: np.random.Generator, length: int) -> Example:
    swaps = rng.integers(math.comb(self.cups, 2), size=length - 1)
    after = moves(self.cups)
    labels = itertools.accumulate(swaps.tolist(), lambda ball, swap: after[swap][ball], initial=0)
    return row(math.comb(self.cups, 2), swaps, [*labels][1:])


@functools.lru_cache
def moves(cups: int) -> list[list[int]]:
  """Returns for each swap, and each cup with the ball before it, the cup with the ball after it."""
  found = []
  for a, b in itertools.combinations(range(cups), 2):
    after = [*range(cups)]
    after[a], after[b] = b, a
    found.append(after)
  return found
