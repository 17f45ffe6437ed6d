"""GloVe: a weighted least-squares fit of logarithms of co-occurrence counts.

Pennington et al. 2014, "GloVe: Global Vectors for Word Representation", EMNLP, equation 8:

  loss = sum_ij f(X_ij) (w_i . c_j + b_i + d_j - log X_ij)^2,   f(x) = min(1, (x / 100)^0.75)

over the pairs with X_ij > 0. X_ij adds 1 / distance for each word j within the window of word i.
The vector of a word is w + c. The optimizer is AdaGrad, as in the paper.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import sparse

from posjax.word_vectors.vocabulary import Text

LEARNING_RATE = 0.05
COUNT_MAX = 100.0
POWER = 0.75

Params = dict[str, jax.Array]


class Batch(NamedTuple):
  """B co-occurrence counts: `counts` [B] of the words `rows` [B] with the words `columns` [B]."""

  rows: np.ndarray
  columns: np.ndarray
  counts: np.ndarray


def cooccurrences(text: Text, window: int) -> Batch:
  """Returns all positive entries of the symmetric matrix X."""
  words = len(text.words)
  total = sparse.csr_array((words, words))
  for distance in range(1, window + 1):
    left, right = text.ids[:-distance], text.ids[distance:]
    together = text.documents[:-distance] == text.documents[distance:]
    pairs = left[together], right[together]
    weights = np.full(len(pairs[0]), 1 / distance)
    total += sparse.coo_array((weights, pairs), shape=(words, words)).tocsr()
  matrix = (total + total.T).tocoo()
  return Batch(matrix.row.astype(np.int32), matrix.col.astype(np.int32), matrix.data)


def batches(text: Text, *, window: int, epochs: int, seed: int, size: int = 1024
) -> Iterator[tuple[float, Batch]]:
  """Yields (fraction of the training done, batch of `size` entries of X), shuffled each epoch."""
  entries = cooccurrences(text, window)
  rng = np.random.default_rng(seed)
  for epoch in range(epochs):
    order = rng.permutation(len(entries.counts))
    for start in range(0, len(order), size):
      rows = order[start : start + size]
      yield (epoch + start / len(order)) / epochs, Batch(*(array[rows] for array in entries))


def init(seed: int, words: int, dim: int) -> Params:
  """Returns two tables of vectors and two of biases, uniform in [-1/(2D), 1/(2D))."""
  shapes = {'w_VD': (words, dim), 'c_VD': (words, dim), 'b_V': (words,), 'd_V': (words,)}
  keys = jax.random.split(jax.random.key(seed), len(shapes))
  return {
    name: jax.random.uniform(key, shape, minval=-0.5 / dim, maxval=0.5 / dim)
    for key, (name, shape) in zip(keys, shapes.items(), strict=True)
  }


def loss(params: Params, batch: Batch) -> jax.Array:
  """Returns the loss, summed over the batch."""
  i, j = batch.rows, batch.columns
  products_B = jnp.sum(params['w_VD'][i] * params['c_VD'][j], axis=1)
  errors_B = products_B + params['b_V'][i] + params['d_V'][j] - jnp.log(batch.counts)
  weights_B = jnp.minimum(1, (batch.counts / COUNT_MAX) ** POWER)
  return jnp.sum(weights_B * errors_B**2)


def optimizer(learning_rate: float) -> optax.GradientTransformation:
  """Returns AdaGrad; as in the released program, sums of squares start at 1."""
  return optax.adagrad(learning_rate, initial_accumulator_value=1.0)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def update(
  params: Params, opt_state: optax.OptState, batch: Batch, learning_rate: float = LEARNING_RATE
) -> tuple[Params, optax.OptState, jax.Array]:
  """Returns the parameters and AdaGrad's state after one step, and the loss before it."""
  value, gradient = jax.value_and_grad(loss)(params, batch)
  changes, opt_state = optimizer(learning_rate).update(gradient, opt_state, params)
  return optax.apply_updates(params, changes), opt_state, value


def train(
  text: Text, *, dim: int = 100, window: int = 5, epochs: int = 25, seed: int = 0,
  learning_rate: float = LEARNING_RATE,
  report: Callable[[float, float], None] = lambda done, loss: None,
) -> np.ndarray:
  """Returns the vectors w + c of the words, [V, D] float32."""
  params = init(seed, len(text.words), dim)
  opt_state = optimizer(learning_rate).init(params)
  data = batches(text, window=window, epochs=epochs, seed=seed)
  for step, (done, batch) in enumerate(data):
    params, opt_state, value = update(params, opt_state, batch, learning_rate)
    if step % 100 == 0:
      report(done, float(value) / len(batch.counts))
  return np.asarray(params['w_VD'] + params['c_VD'])
