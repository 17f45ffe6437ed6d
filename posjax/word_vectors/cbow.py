"""CBOW, a continuous bag of words: predicts the center word from its context.

Mikolov et al. 2013, arXiv 1301.3781; the loss is in negative_sampling.py with

  v = (1 / C) sum_j v_j over the C words j of the context;   o, the center word.
"""

from collections.abc import Callable, Iterator

import numpy as np

from posjax.word_vectors import negative_sampling, vocabulary
from posjax.word_vectors.negative_sampling import Batch, Examples, loss, update
from posjax.word_vectors.vocabulary import Text

__all__ = ['batches', 'examples', 'loss', 'train', 'update']

LEARNING_RATE = 0.05


def examples(text: Text, window: int, rng: np.random.Generator) -> Examples:
  """Returns the predictions of one epoch: contexts [P, 2 window], -1 padded; center words [P]."""
  ids, contexts = vocabulary.windows(text, window, negative_sampling.SUBSAMPLING, rng)
  some = np.any(contexts >= 0, axis=1)
  return contexts[some], ids[some]


def batches(
  text: Text, *, window: int, epochs: int, seed: int, size: int = 64
) -> Iterator[tuple[float, Batch]]:
  """Yields (fraction of the training done, batch of `size` center words with their contexts)."""
  draw = lambda rng: examples(text, window, rng)
  return negative_sampling.batches(draw, text.counts, epochs=epochs, size=size, seed=seed)


def train(
  text: Text, *, dim: int = 100, window: int = 5, epochs: int = 5, seed: int = 0,
  learning_rate: float = LEARNING_RATE,
  report: Callable[[float, float], None] = lambda done, loss: None,
) -> np.ndarray:
  """Returns the input vectors of the words, [V, D] float32."""
  words = len(text.words)
  params = negative_sampling.init(seed, words, words, dim)
  data = batches(text, window=window, epochs=epochs, seed=seed)
  return np.asarray(negative_sampling.fit(params, data, learning_rate, report)['input_RD'])
