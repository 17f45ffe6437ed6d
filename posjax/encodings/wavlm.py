"""WavLM's gated bias: T5's bias times a gate of each query, computed from the layer's input.

Chen et al. 2022, "WavLM", IEEE JSTSP 16, arXiv 2110.13900, as in its released code.

  A_ij = q_i . k_j / sqrt(H) + g_in b_n[bucket(i - j)]        buckets for either side
  g_in = s (t c_n - 1) + 2,   s = sigmoid(y_1 + … + y_4),   t = sigmoid(y_5 + … + y_8)
  y = W x_in + u

x_in is the n-th slice of H channels of the layer's input, before any projection. All layers share
the table. Each layer has its own W, u and c; its heads share W and u. The initial weights follow
the released code: b and W are N(0, 0.02), u = 0, c = 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.parts.buckets import bucket, check_buckets
from posjax.encodings.parts.distance import DistanceBias


class Wavlm(DistanceBias):
  buckets: int = 320
  max_distance: int = 800
  linear_beyond = property(lambda self: self.max_distance)  # constant, in the last bucket

  def check(self, dims: Dims) -> None:
    check_buckets(self.buckets, self.max_distance, sides=2)
    if dims.D != dims.N * dims.H:
      raise ValueError(
        f'each head is gated by a slice of the width: D = {dims.D} must be N H = {dims.N * dims.H}'
      )

  def setup(self) -> None:
    normal = nn.initializers.normal(0.02)
    self.table_RN = self.weight('table_RN', normal, R=self.buckets)
    self.gate_LRH = self.weight('gate_LRH', normal, R=8)
    self.gate_bias_LR = self.weight('gate_bias_LR', nn.initializers.zeros, R=8)
    self.constant_LN = self.weight('constant_LN', nn.initializers.ones)

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    x_BTNH = x_BTD.reshape(*x_BTD.shape[:2], self.dims.N, self.dims.H)
    y_BTNR = jnp.einsum(
      'BTNH,RH->BTNR', x_BTNH, self.gate_LRH.astype(x_BTD.dtype),
      preferred_element_type=at_least_float32(x_BTD),
    )
    s_BTNR, t_BTNR = jnp.split(y_BTNR + self.gate_bias_LR, 2, axis=-1)
    s_BTN, t_BTN = (jax.nn.sigmoid(jnp.sum(y, axis=-1)) for y in (s_BTNR, t_BTNR))
    return s_BTN * (t_BTN * self.constant_LN - 1) + 2, state

  def key(self, k: AttentionInput) -> AttentionInput:
    return k.replace(features=())  # only queries have gates: none is cached

  def bias(self, distance: jax.Array) -> jax.Array:
    index = bucket(distance, self.buckets, self.max_distance, bidirectional=True)
    return self.table_RN.astype(distance.dtype)[index]

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    return gates(q) * super().position_bias(q, k)

  def bias_from_table(self, q: AttentionInput, r_NR: jax.Array) -> jax.Array:
    return gates(q) * super().bias_from_table(q, r_NR)


def gates(q: AttentionInput) -> jax.Array:
  return q.features.swapaxes(1, 2)[..., None]


EXAMPLES = (dict(wavlm=dict(buckets=12, max_distance=40)),)
