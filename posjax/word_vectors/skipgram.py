"""Skip-gram: predicts each context word from the center word.

Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546; the loss is in negative_sampling.py with

  v = v_c, the input row of the center word c;   o, each word of the context of c in turn.
"""

from collections.abc import Callable, Iterator

import numpy as np

from posjax.word_vectors import negative_sampling, vocabulary
from posjax.word_vectors.negative_sampling import Batch, Examples, loss, update
from posjax.word_vectors.vocabulary import Text

__all__ = ['batches', 'examples', 'loss', 'train', 'update']

LEARNING_RATE = 0.025


def examples(text: Text, window: int, rng: np.random.Generator) -> Examples:
  """Returns the pairs of one epoch: center words [P, 1], context words [P]."""
  ids, contexts = vocabulary.windows(text, window, negative_sampling.SUBSAMPLING, rng)
  rows, columns = np.nonzero(contexts >= 0)
  return ids[rows, None], contexts[rows, columns]


def batches(
  text: Text, *, window: int, epochs: int, seed: int, size: int = 256, power: float = 0.75
) -> Iterator[tuple[float, Batch]]:
  """Yields (fraction of the training done, batch of `size` pairs); noise is count^power."""
  draw = lambda rng: examples(text, window, rng)
  return negative_sampling.batches(
    draw, text.counts, epochs=epochs, size=size, seed=seed, power=power
  )


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
