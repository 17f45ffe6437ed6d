"""Tasks that hide needles in a haystack, and ask for one of them.

The question is the haystack and a query; the answer is what the asked needle says. A haystack is
filler with needles inserted at random slots between its tokens. The size of a problem is the number
of tokens of its question: the filler takes what needles and query leave, so that the largest size
fills a row exactly.

The filler is noise, uniformly drawn small letters, or the five sentences of Mohtashami and Jaggi
2023, arXiv 2305.16300, in small letters, repeated and cut anywhere. Needles consist of capital
letters, digits and signs, the filler of none of them.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from posjax.errors import one_of
from posjax.tasks.core.generated import Lazy, name_of
from posjax.tasks.core.strings import Strings
from posjax.tasks.core.task import Data, Test

DIGITS = np.arange(ord('0'), ord('9') + 1)
CAPITALS = np.arange(ord('A'), ord('Z') + 1)
SMALL = np.arange(ord('a'), ord('z') + 1)
SENTENCES = np.array([*(
  b'the grass is green. the sky is blue. the sun is yellow. here we go. there and back again. '
)])
FILLERS = 'noise', 'sentences'
THIRDS = dict(any=(0, 3), early=(0, 1), middle=(1, 2), late=(2, 3))  # of the filler, by depth


class Problem(NamedTuple):
  """What a haystack hides and what is asked; arrays of tokens.

  Their lengths depend on the arguments of the task only.
  """

  needles: Sequence[np.ndarray]
  query: np.ndarray
  answer: np.ndarray


@dataclasses.dataclass(frozen=True)
class Haystack(Strings):
  """Needles in filler. Override `draw` and `places`."""

  filler: str = 'noise'  # random small letters, or 'sentences': five short ones, repeated

  def draw(self, rng: np.random.Generator) -> Problem:
    """Returns needles, query and answer."""
    raise NotImplementedError

  def places(
    self, rng: np.random.Generator, needles: int, slots: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of the needles in the row, and the slot of each in that order."""
    raise NotImplementedError

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    needles, query, answer = self.draw(rng)
    left = size - sum(map(len, needles)) - len(query)
    noise = self.filler == 'noise'
    filler = rng.choice(SMALL, size=left) if noise else np.resize(SENTENCES, left)
    order, slots = self.places(rng, len(needles), left + 1)
    needles = [needles[i] for i in order]
    slots = np.repeat(slots, [len(needle) for needle in needles])
    return np.concatenate([np.insert(filler, slots, np.concatenate(needles)), query]), answer

  @functools.cached_property
  def smallest(self) -> int:  # type: ignore[override]
    """The tokens of needles and query, and two of filler: a slot in each third of its depth."""
    needles, query, _ = self.draw(np.random.default_rng(0))
    return sum(map(len, needles)) + len(query) + 2

  @functools.cached_property
  def _answer(self) -> int:
    return len(self.draw(np.random.default_rng(0)).answer)

  def longest(self, size: int) -> tuple[int, int]:
    return size, self._answer

  def check(self, length: int) -> None:
    if self.filler not in FILLERS:
      raise ValueError(f'filler = {self.filler}: {one_of(self.filler, FILLERS)}')
    super().check(length)


@dataclasses.dataclass(frozen=True)
class Needle(Haystack):
  """A haystack of which the first drawn needle is asked for, with a test for each depth.

  The depth of a needle is the share of the filler before it. The test of the task's name has the
  depths of training; the other tests have the first, the second and the last third.
  """

  depth: str = 'any'  # of the asked needle in training; or a third: 'early', 'middle', 'late'

  def places(
    self, rng: np.random.Generator, needles: int, slots: int
  ) -> tuple[np.ndarray, np.ndarray]:
    low, high = (slots * third // 3 for third in THIRDS[self.depth])
    of_needles = np.append(rng.integers(low, high), rng.integers(slots, size=needles - 1))
    order = rng.permutation(needles)
    return order, of_needles[order]

  def check(self, length: int) -> None:
    if self.depth not in THIRDS:
      raise ValueError(f'depth = {self.depth}: {one_of(self.depth, THIRDS)}')
    super().check(length)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    opened = super().open(corpus, length, lengths)
    floors = opened.tests[name_of(self)].floors
    thirds = {
      name: Test(
        f'{name}: {self.rows:,} problems with the answer in the {which} third of the filler',
        Lazy(dataclasses.replace(self, depth=name).test_rows, tuple(lengths)), floors,
      )
      for name, which in (('early', 'first'), ('middle', 'second'), ('late', 'last'))
    }
    return dataclasses.replace(opened, tests={**opened.tests, **thirds})


def distinct(
  rng: np.random.Generator, count: int, letters: int, alphabet: np.ndarray
) -> np.ndarray:
  """Returns tokens [count, letters] of different words over an alphabet, uniformly drawn."""
  base = len(alphabet)
  numbers = rng.choice(base**letters, size=count, replace=False)
  return alphabet[numbers[:, None] // base ** np.arange(letters)[::-1] % base]
