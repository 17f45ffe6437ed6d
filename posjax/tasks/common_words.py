"""Common words: list the words that occur most often.

Hsieh et al. 2024, "RULER: what's the real context size of your long-context language models?",
COLM, arXiv 2404.06654, task cwe. A row is BOS, words with a space after each, SEP, the common words
without spaces, EOS. The words of a row are different, uniformly drawn strings of `letters` small
letters: `common` of them occur `often` times, and as many as fit into the row `rarely` times, all
shuffled. Dots in front fill up what is left of the row.

The answer has the common words in the order in which each first occurs, so that there is one right
answer. RULER accepts any order, and has ten common words, 30 and 3 occurrences, or 6 and 1 in rows
of fewer than 4,096 tokens. A guess reaches a token accuracy of 1/26 and, with M = 26^letters, an
exact match of 1 / (M (M - 1) … (M - common + 1)).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posjax.errors import UserError
from posjax.tasks.core.haystack import SMALL, distinct
from posjax.tasks.core.strings import Strings
from posjax.tasks.core.task import Data

SPACE, DOT = ord(' '), ord('.')


@dataclasses.dataclass(frozen=True)
class CommonWords(Strings):
  common: int = 2  # common words of a row
  often: int = 6  # occurrences of each common word
  rarely: int = 1  # occurrences of each other word
  letters: int = 2  # small letters of a word

  def check(self, length: int) -> None:
    for name in ('common', 'rarely'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} = {getattr(self, name)}: must be positive')
    if self.often <= self.rarely:
      raise ValueError(f'often = {self.often}: must be more than rarely = {self.rarely}')
    if not 1 <= self.letters <= 4:
      raise ValueError(f'letters = {self.letters}: must be in [1, 4]')
    super().check(length)

  @property
  def smallest(self) -> int:  # type: ignore[override]
    """The tokens of the common words and of as many others."""
    return self.common * (self.often + self.rarely) * (self.letters + 1)

  def longest(self, size: int) -> tuple[int, int]:
    return size, self.common * self.letters

  def others(self, size: int) -> int:
    """Returns the number of other words in a question of `size` tokens."""
    return (size // (self.letters + 1) - self.common * self.often) // self.rarely

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    counts = np.repeat([self.often, self.rarely], [self.common, self.others(size)])
    words = distinct(rng, len(counts), self.letters, SMALL)
    index = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    text = np.pad(words, ((0, 0), (0, 1)), constant_values=SPACE)[index].ravel()
    first = np.argmax(index == np.arange(self.common)[:, None], axis=1)
    dots = np.full(size - len(text), DOT)
    return np.concatenate([dots, text]), words[np.argsort(first)].ravel()

  def guess(self, size: int) -> float:
    return 1 / 26

  def guess_exact(self, size: int) -> float:
    return 1 / math.perm(26**self.letters, self.common)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    for n in (length, *lengths):
      if (words := self.common + self.others(self.largest(n))) > 26**self.letters:
        raise UserError(
          f'task.common_words.letters = {self.letters}: makes {26**self.letters:,} words, but a '
          f'row of {n:,} tokens has {words:,}; raise letters or rarely, or lower '
          'evaluate.multiples'
        )
    return super().open(corpus, length, lengths)
