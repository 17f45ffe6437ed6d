"""Dynamic position bias: a small MLP maps the distance to the biases of all heads.

Wang et al. 2022, "CrossFormer", ICLR, arXiv 2108.00154, for image patches; here for text, as in
x-transformers' DynamicPositionBias.

  A_ij = q_i . k_j / sqrt(H) + f_n(i - j)         with `log`: f_n(sign(i - j) ln(1 + |i - j|))
  f(r) = W silu(… silu(W_1 silu(w_0 r + b_0) + b_1) …) + b,   `depth` times silu, `width` units

With `norm`, a LayerNorm precedes each silu; as in x-transformers, the first LayerNorm has a gain
and no offset. All layers share the MLP. The distance is signed, so keys before and after a query
can get different biases.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.parts.distance import DistanceBias
from posjax.encodings.parts.initializers import torch_linear


def layer_norm(x: jax.Array) -> jax.Array:
  mean, variance = jnp.mean(x, axis=-1, keepdims=True), jnp.var(x, axis=-1, keepdims=True)
  return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


def product(x: jax.Array, w: jax.Array) -> jax.Array:
  # Without this, accelerators would round large distances to bfloat16.
  return jnp.matmul(x, w, precision=jax.lax.Precision.HIGHEST)


class MlpBias(DistanceBias):
  width: int = 32
  depth: int = 2
  log: bool = False
  norm: bool = False
  inert = ('output_bias_N',)  # equal for all keys of a query: the softmax cancels it

  def check(self, dims: Dims) -> None:
    if self.width < 1 or self.depth < 1:
      raise ValueError(f'width and depth must be positive; they are {self.width} and {self.depth}')

  def setup(self) -> None:
    # R and C both equal the width, because a weight's name may use an axis letter only once.
    weight = functools.partial(self.weight, R=self.width, C=self.width)
    first, suffix_sum, layers = torch_linear(1), torch_linear(self.width), range(self.depth)
    self.input_R = weight('input_R', first)
    self.hidden = [weight(f'hidden{i}_RC', suffix_sum) for i in layers[1:]]
    self.biases = [weight(f'bias{i}_R', suffix_sum if i else first) for i in layers]
    self.output_RN = weight('output_RN', suffix_sum)
    self.output_bias_N = weight('output_bias_N', suffix_sum)
    if self.norm:
      self.gains = [weight(f'gain{i}_R', nn.initializers.ones) for i in layers]
      self.shifts = [weight(f'shift{i}_R', nn.initializers.zeros) for i in layers[1:]]

  def bias(self, distance: jax.Array) -> jax.Array:
    r = jnp.sign(distance) * jnp.log1p(jnp.abs(distance)) if self.log else distance
    x = self._unit(0, r[..., None] * self.input_R)
    for i, hidden_RC in enumerate(self.hidden, 1):
      x = self._unit(i, product(x, hidden_RC))
    return product(x, self.output_RN) + self.output_bias_N

  def _unit(self, i, z):
    """Applies layer i after its matrix product: bias, optional LayerNorm, silu."""
    z = z + self.biases[i]
    if self.norm:
      z = layer_norm(z) * self.gains[i]
      z = z + self.shifts[i - 1] if i else z
    return nn.silu(z)


EXAMPLES = dict(mlp_bias=dict(width=5, norm=True)), dict(mlp_bias=dict(width=4, depth=3, log=True))
