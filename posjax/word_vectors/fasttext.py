"""fastText: skip-gram whose center word is the mean of its subwords.

Bojanowski et al. 2017, arXiv 1607.04606; the loss is in negative_sampling.py with

  v = mean of the rows of the center word and of its n-grams (subwords.py);   o, a context word.

As in the paper, negative samples are drawn with the square root of the counts, not count^0.75.
"""

from collections.abc import Callable, Iterator

import numpy as np

from posjax.word_vectors import negative_sampling, skipgram, subwords
from posjax.word_vectors.negative_sampling import Batch, loss, update
from posjax.word_vectors.subwords import Subwords
from posjax.word_vectors.vocabulary import Text

__all__ = ['batches', 'input_rows', 'loss', 'train', 'update']

LEARNING_RATE = 0.05
BUCKETS = 200_000  # fastText has 2,000,000, for texts of billions of words
MIN_N, MAX_N = 3, 6
NOISE_POWER = 0.5


def input_rows(
  words: list[str], buckets: int = BUCKETS, min_n: int = MIN_N, max_n: int = MAX_N
) -> np.ndarray:
  """Returns [V, I], the rows of each word and its n-grams in the input table, -1 padded."""
  lists = [
    [row, *subwords.rows(word, len(words), buckets, min_n, max_n)] for row, word in enumerate(words)
  ]
  table = np.full((len(words), max(map(len, lists))), -1, np.int32)
  for row, found in enumerate(lists):
    table[row, : len(found)] = found
  return table


def batches(
  text: Text, *, window: int, epochs: int, seed: int, size: int = 64, buckets: int = BUCKETS
) -> Iterator[tuple[float, Batch]]:
  """Yields (fraction of the training done, batch of `size` pairs)."""
  table = input_rows(text.words, buckets)
  pairs = skipgram.batches(
    text, window=window, epochs=epochs, seed=seed, size=size, power=NOISE_POWER
  )
  for done, batch in pairs:
    yield done, batch._replace(inputs=table[batch.inputs[:, 0]])


def train(
  text: Text, *, dim: int = 100, window: int = 5, epochs: int = 5, seed: int = 0,
  learning_rate: float = LEARNING_RATE, buckets: int = BUCKETS,
  report: Callable[[float, float], None] = lambda done, loss: None,
) -> Subwords:
  """Returns the vectors of the words and of the buckets."""
  words = len(text.words)
  params = negative_sampling.init(seed, words + buckets, words, dim)
  data = batches(text, window=window, epochs=epochs, seed=seed, buckets=buckets)
  params = negative_sampling.fit(params, data, learning_rate, report)
  return Subwords(text.words, np.asarray(params['input_RD']), MIN_N, MAX_N)
