"""Subwords of fastText: hashed character n-grams give vectors to words outside the vocabulary.

Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information", TACL, arXiv 1607.04606.
The word "where" has the n-grams <wh, whe, her, ere, re>, <whe, ..., where>: n = 3 to 6 characters
of <where>. An n-gram g is row V + FNV-1a(g) mod R of a table of V words and R buckets, and

  vector(word) = mean of its own row, if the vocabulary has the word, and of its n-grams' rows.

(The paper has the sum; the released program has the mean.)
"""

import dataclasses
import functools

import numpy as np

END_OF_SENTENCE = '</s>'  # fastText's own token, which has no n-grams


def fnv1a(text: bytes) -> int:
  """Returns fastText's 32-bit FNV-1a hash, which extends the sign of bytes from 128 to 255."""
  value = 2166136261
  for byte in text:
    extended = byte if byte < 128 else byte | 0xFFFFFF00
    value = (value ^ extended) * 16777619 & 0xFFFFFFFF
  return value


def ngrams(word: str, min_n: int, max_n: int) -> list[bytes]:
  """Returns the n-grams of `<word>` as UTF-8, by start and then by length; not < and > alone."""
  text = b'<' + word.encode('utf-8', 'surrogateescape') + b'>'
  # A character starts at each byte that does not continue another; files may have invalid UTF-8.
  starts = [i for i, byte in enumerate(text) if byte & 0xC0 != 0x80] + [len(text)]
  last = len(starts) - 1
  return [
    text[starts[first] : starts[first + n]]
    for first in range(last)
    for n in range(min_n, min(max_n, last - first) + 1)
    if n > 1 or 0 < first < last - 1
  ]


def rows(word: str, words: int, buckets: int, min_n: int, max_n: int) -> list[int]:
  """Returns the rows of a word's n-grams in a table of `words` and `buckets` rows."""
  if not buckets or word == END_OF_SENTENCE:
    return []
  return [words + fnv1a(ngram) % buckets for ngram in ngrams(word, min_n, max_n)]


@dataclasses.dataclass(frozen=True)
class Subwords:
  """Vectors of V words and R buckets of n-grams.

  Attributes:
    words: the V words of the vocabulary.
    table_RD: [V + R, D], first the words, then the buckets.
    min_n: the length of the shortest n-grams, in characters.
    max_n: the length of the longest.
  """

  words: list[str]
  table_RD: np.ndarray
  min_n: int
  max_n: int

  @functools.cached_property
  def index(self) -> dict[str, int]:
    """{word: its row}."""
    return {word: row for row, word in enumerate(self.words)}

  def rows(self, word: str) -> list[int]:
    """Returns the rows whose mean is the vector of a word."""
    own = [self.index[word]] if word in self.index else []
    buckets = len(self.table_RD) - len(self.words)
    return own + rows(word, len(self.words), buckets, self.min_n, self.max_n)

  def vector(self, word: str) -> np.ndarray:
    """Returns the vector of any word, [D] float32; zeros if it has neither a row nor n-grams."""
    found = self.rows(word)
    return self.table_RD[found].mean(axis=0) if found else np.zeros_like(self.table_RD[0])

  def vectors(self) -> np.ndarray:
    """Returns the vectors of the vocabulary, [V, D] float32."""
    return np.stack([self.vector(word) for word in self.words])
