"""Text as word ids: tokens, a vocabulary, subsampling, context windows, the noise distribution.

Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality",
arXiv 1310.4546, sections 2.2 and 2.3. With f(w) the frequency of a word and t a threshold,

  P(keep w) = sqrt(t / f(w)) + t / f(w)
  P_noise(w) = count(w)^0.75 / sum_w' count(w')^0.75

(The paper keeps with sqrt(t / f); the released programs, word2vec.c and fastText, add t / f.)
"""

import collections
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from posjax.errors import UserError


class Text(NamedTuple):
  """A corpus of N tokens over a vocabulary of V words, the most frequent first.

  Attributes:
    words: the V words.
    counts: [V], how often each word occurs.
    ids: [N], the word of each token; words outside the vocabulary are left out.
    documents: [N], the number of the token's document; a context ends where a document ends.
  """

  words: list[str]
  counts: np.ndarray
  ids: np.ndarray
  documents: np.ndarray


def tokens(document: bytes) -> list[str]:
  """Returns the lower-cased words of a UTF-8 text: the longest runs of letters, digits and _."""
  return re.findall(r'\w+', document.decode('utf-8', 'replace').lower())


def build(documents: Iterable[list[str]], min_count: int = 5) -> Text:
  """Returns the text of tokenized documents, with the words that occur at least `min_count` times.

  Raises:
    UserError: fewer than two words are that frequent, or no document has two of them.
  """
  documents = list(documents)
  counter = collections.Counter(word for document in documents for word in document)
  words = sorted((w for w, n in counter.items() if n >= min_count), key=lambda w: (-counter[w], w))
  if len(words) < 2:
    raise UserError(
      f'{len(words)} of {len(counter):,} words occur {min_count} times or more; '
      'lower min_count, or use more text'
    )
  index = {word: number for number, word in enumerate(words)}
  rows = [[index[word] for word in document if word in index] for document in documents]
  if max(map(len, rows)) < 2:
    raise UserError('no document has two words of the vocabulary, so no word has a context')
  return Text(
    words=words,
    counts=np.array([counter[word] for word in words]),
    ids=np.array([number for row in rows for number in row], np.int32),
    documents=np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
  )


def keep_probability(counts: np.ndarray, threshold: float) -> np.ndarray:
  """Returns [V], the probability that subsampling keeps one occurrence of each word."""
  ratio = threshold * counts.sum() / counts
  return np.minimum(1, np.sqrt(ratio) + ratio)


def noise(counts: np.ndarray, power: float = 0.75) -> np.ndarray:
  """Returns [V], the cumulative distribution of negative samples: count^power, normalized."""
  weights = counts**power
  return np.cumsum(weights) / weights.sum()


def draw(cumulative: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
  """Returns word ids drawn from a cumulative distribution [V]."""
  # The largest sum may be rounded to less than 1; a draw above it belongs to the last word.
  ids = np.searchsorted(cumulative, rng.random(shape), side='right')
  return np.minimum(ids, len(cumulative) - 1).astype(np.int32)


def windows(
  text: Text, window: int, threshold: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the tokens that subsampling keeps, [M], and their context words, [M, 2 window].

  Each token draws a radius from 1 to `window`. A context word is at most that many kept tokens
  away, in the same document; -1 marks places without one.
  """
  kept = rng.random(len(text.ids)) < keep_probability(text.counts, threshold)[text.ids]
  ids, documents = text.ids[kept], text.documents[kept]
  radius = rng.integers(1, window + 1, len(ids))
  contexts = np.full((len(ids), 2 * window), -1, np.int32)
  for distance in range(1, window + 1):
    together = documents[distance:] == documents[:-distance]
    before = together & (radius[distance:] >= distance)
    after = together & (radius[:-distance] >= distance)
    contexts[distance:, distance - 1] = np.where(before, ids[:-distance], -1)
    contexts[:-distance, window + distance - 1] = np.where(after, ids[distance:], -1)
  return ids, contexts
