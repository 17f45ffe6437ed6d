"""A language model with relative positions: what another tutorial's code should have been.

The relative term enters the score of each pair of tokens; nothing is added to the embeddings:

  A_ij = q_i . k_j / sqrt(H) + b_n[bucket(i - j)]        (T5, Raffel et al. 2020, arXiv 1910.10683)

The model is written out in Flax; posjax contributes the encoding and `attend`. It learns the text
of absolute_lm.py, not images.

  python -m experiments.seeds.relative_lm
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments.seeds.absolute_lm import DIMS, LENGTH, positions, report
from posjax import T5, Bound, Positions, attend

BIAS = T5(buckets=32, max_distance=128).with_dims(DIMS)  # b; its weights are in the model's


class Attention(nn.Module):
  """Heads with their own projections, then Concat(head_1, …, head_N) W_O."""

  @nn.compact
  def __call__(self, x_BTD: jax.Array, at: Positions, encoding: Bound) -> jax.Array:
    project = lambda name: nn.DenseGeneral((DIMS.N, DIMS.H), use_bias=False, name=name)(x_BTD)
    q = encoding.query(at.attach(project('query') * DIMS.scale))
    k = encoding.key(at.attach(project('key'), project('value')))
    o_BTNH = attend(q, k, encoding, causal=True)
    return nn.DenseGeneral(DIMS.D, axis=(-2, -1), use_bias=False, name='output')(o_BTNH)


class Block(nn.Module):
  """Attention and an MLP of two linear maps; each reads a normalized stream and adds to it."""

  @nn.compact
  def __call__(self, x_BTD: jax.Array, at: Positions, encoding: Bound) -> jax.Array:
    x_BTD = x_BTD + Attention()(nn.LayerNorm()(x_BTD), at, encoding)
    h_BTF = nn.relu(nn.Dense(DIMS.F, name='up')(nn.LayerNorm()(x_BTD)))
    return x_BTD + nn.Dense(DIMS.D, name='down')(h_BTF)


class RelativeLM(nn.Module):
  """Maps ids to next-token logits, [B, T, V]; all layers share one table of biases."""

  @nn.compact
  def __call__(self, x_BT: jax.Array, at: Positions) -> jax.Array:
    encoding = Bound(BIAS, self.param('encoding', BIAS.init_weights))
    # Only the ids are looked up: no position is added.
    x_BTD = nn.Embed(DIMS.V, DIMS.D, embedding_init=nn.initializers.normal(1))(x_BT)
    for _ in range(2):
      x_BTD = Block()(x_BTD, at, encoding)
    return nn.Dense(DIMS.V, use_bias=False, name='head')(nn.LayerNorm()(x_BTD))


def initial(seed: int = 0) -> dict:
  """Returns the weights of a new model: the module itself holds none."""
  ids = jnp.zeros((1, LENGTH), jnp.int32)
  return RelativeLM().init(jax.random.key(seed), ids, positions(LENGTH))['params']


def logits(params: dict, x_BT: jax.Array, at: Positions) -> jax.Array:
  """Returns next-token logits, [B, T, V]."""
  return RelativeLM().apply({'params': params}, x_BT, at)


if __name__ == '__main__':
  report(logits, initial())
