"""Negative sampling (Mikolov et al. 2013, arXiv 1310.4546, equation 4).

  loss = -log sigma(u_o . v) - sum_k log sigma(-u_k . v)

v is the mean of some rows of the input table, u_o the output row of the word to predict and u_k
those of K words drawn from the noise distribution. A draw that equals the word to predict counts
nothing. Skip-gram, CBOW and fastText differ in the rows that v is the mean of.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from posjax.word_vectors import vocabulary

SUBSAMPLING = 1e-3  # the threshold t of vocabulary.py, as in word2vec.c

Params = dict[str, jax.Array]
Examples = tuple[np.ndarray, np.ndarray]


class Batch(NamedTuple):
  """B predictions: of `targets` [B], against `negatives` [B, K] drawn from the noise distribution.

  v is the mean of the input rows `inputs` [B, I]; -1 is padding.
  """

  inputs: np.ndarray
  targets: np.ndarray
  negatives: np.ndarray


def init(seed: int, rows: int, words: int, dim: int) -> Params:
  """Returns an input table, uniform in [-1/D, 1/D), and an output table of zeros."""
  uniform = jax.random.uniform(jax.random.key(seed), (rows, dim), minval=-1 / dim, maxval=1 / dim)
  return {'input_RD': uniform, 'output_VD': jnp.zeros((words, dim))}


def gather(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Returns the means v [B, D] and the output rows [B, 1 + K, D], the word to predict first."""
  used_BI1 = (batch.inputs >= 0)[..., None]
  v_BD = jnp.sum(params['input_RD'][batch.inputs] * used_BI1, axis=1) / jnp.sum(used_BI1, axis=1)
  return v_BD, params['output_VD'][outputs(batch)]


def outputs(batch: Batch) -> jax.Array:
  return jnp.concatenate([batch.targets[:, None], batch.negatives], axis=1)


def loss_of_rows(v_BD: jax.Array, u_BKD: jax.Array, batch: Batch) -> jax.Array:
  """Returns the loss in nats, summed over the batch."""
  logits_BK = jnp.einsum('bd,bkd->bk', v_BD, u_BKD)
  counted_BK = batch.negatives != batch.targets[:, None]
  noise = jnp.sum(jax.nn.softplus(logits_BK[:, 1:]) * counted_BK)
  return jnp.sum(jax.nn.softplus(-logits_BK[:, 0])) + noise


def loss(params: Params, batch: Batch) -> jax.Array:
  """Returns the loss in nats, summed over the batch."""
  return loss_of_rows(*gather(params, batch), batch)


@functools.partial(jax.jit, donate_argnums=0)
def update(params: Params, batch: Batch, learning_rate: float) -> tuple[Params, jax.Array]:
  """Returns the parameters after one step of gradient descent, and the loss before it.

  Only the rows of the batch are read and written. Each of the I input rows moves by the gradient of
  their mean without the factor 1/I, as in word2vec.c, gensim and fastText; Irsoy et al. 2020, arXiv
  2012.15332, discuss this factor.
  """
  v_BD, u_BKD = gather(params, batch)
  value, (dv_BD, du_BKD) = jax.value_and_grad(loss_of_rows, argnums=(0, 1))(v_BD, u_BKD, batch)
  used_BI1 = (batch.inputs >= 0)[..., None]
  step_BID = -learning_rate * dv_BD[:, None] * used_BI1
  return {
    'input_RD': params['input_RD'].at[batch.inputs].add(step_BID),
    'output_VD': params['output_VD'].at[outputs(batch)].add(-learning_rate * du_BKD),
  }, value


def batches(
  examples: Callable[[np.random.Generator], Examples], counts: np.ndarray, *, epochs: int,
  size: int, seed: int, negatives: int = 5, power: float = 0.75,
) -> Iterator[tuple[float, Batch]]:
  """Yields (fraction of the training done, batch).

  `examples` draws the inputs [P, I] and targets [P] of one epoch, which are then shuffled into
  batches of `size`. Each gets `negatives` words drawn with probability counts^power, counts [V].
  """
  rng = np.random.default_rng(seed)
  noise = vocabulary.noise(counts, power)
  for epoch in range(epochs):
    inputs, targets = examples(rng)
    # All batches have one shape, so that `update` compiles once; some examples fill the last batch.
    order = np.resize(rng.permutation(len(targets)), -(-len(targets) // size) * size)
    for start in range(0, len(order), size):
      rows = order[start : start + size]
      drawn = vocabulary.draw(noise, (len(rows), negatives), rng)
      yield (epoch + start / len(order)) / epochs, Batch(inputs[rows], targets[rows], drawn)


def fit(
  params: Params, batches: Iterator[tuple[float, Batch]], learning_rate: float,
  report: Callable[[float, float], None] = lambda done, loss: None,
) -> Params:
  """Returns the parameters after all batches; the learning rate falls linearly to 1e-4 of itself.

  `report` gets the fraction of the training done and the loss of one prediction, in nats.
  """
  for step, (done, batch) in enumerate(batches):
    params, value = update(params, batch, learning_rate * max(1 - done, 1e-4))
    if step % 100 == 0:  # reading a loss waits for its step
      report(done, float(value) / len(batch.targets))
  return params
