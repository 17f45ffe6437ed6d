"""The forgetting Transformer: a gate per token and head; a logit falls by all gates in between.

Lin et al. 2025, ICLR, arXiv 2503.02130, equations 2 to 4.

  A_ij = q_i . k_j / sqrt(H) + sum_{l = j+1 .. i} log f_l        f_t = sigmoid(w_f . x_t + b_f)

A constant gate is ALiBi; a gate of 1 is no encoding. The sum runs over the keys that the query
sees, nearest first. The carry c is the sum over the blocks visited so far, so each new sum covers
at most one block, and float32 loses no precision at any length.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from posjax.encodings.core.arrays import at_least_float32, suffix_sum, zero_carry
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions


class Fox(Encoding):
  bias: float = 0.0
  axes = None
  causal_only = True
  contiguous = True

  def setup(self) -> None:
    self.gate_LDN = self.weight('gate_LDN', nn.initializers.normal(0.02))
    self.gate_bias_LN = self.weight('gate_bias_LN', nn.initializers.constant(self.bias))

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    return jax.nn.log_sigmoid(self.logits(x_BTD)), state

  def logits(self, x_BTD: jax.Array) -> jax.Array:
    """Returns the logits of the tokens' gates, [B, T, N]."""
    gate_BTN = jnp.einsum(
      'BTD,DN->BTN', x_BTD, self.gate_LDN.astype(x_BTD.dtype),
      preferred_element_type=at_least_float32(x_BTD),
    )
    return gate_BTN + self.gate_bias_LN

  def key_block(self, k: AttentionInput) -> AttentionInput:
    log_f_BNS = k.features.swapaxes(1, 2)
    before_BNS = jnp.flip(suffix_sum(jnp.flip(log_f_BNS, -1)), -1)
    return k.replace(features=Sums(log_f_BNS, before_BNS + log_f_BNS, suffix_sum(log_f_BNS)))

  def init_carry(self, q: AttentionInput) -> Any:
    return zero_carry(q)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    """Adds sums of log f: one per pair only if the mask is irregular, otherwise one per token."""
    T, S = s_BNTS.shape[2:]
    if T != S:
      return lax.cond(pair.fully_visible, _whole, _cut, s_BNTS, pair, carry)
    triangle = jnp.all(pair.mask == np.tri(T, dtype=bool))
    kind = jnp.where(pair.fully_visible, 2, triangle.astype(jnp.int32))
    return lax.switch(kind, (_cut, _triangle, _whole), s_BNTS, pair, carry)


@flax.struct.dataclass
class Sums:
  """log f of each key of a block; its sums up to and including each key, and after: [B, N, S]."""

  own: jax.Array
  upto: jax.Array
  after: jax.Array


def _whole(s_BNTS, pair, c_BNT):
  sums = pair.k.features
  s_BNTS = s_BNTS + c_BNT[..., None] + sums.after[:, :, None]
  return s_BNTS, c_BNT + jnp.sum(sums.own, axis=-1, keepdims=True)


def _triangle(s_BNTS, pair, c_BNT):
  """Adds the sums where each token sees itself and all tokens before it."""
  upto_BNS = pair.k.features.upto
  c_BNT = c_BNT + upto_BNS
  return s_BNTS + c_BNT[..., None] - upto_BNS[:, :, None], c_BNT


def _cut(s_BNTS, pair, c_BNT):
  seen_BNTS = jnp.where(pair.mask, pair.k.features.own[:, :, None], 0)
  s_BNTS = s_BNTS + c_BNT[..., None] + suffix_sum(seen_BNTS)
  return s_BNTS, c_BNT + jnp.sum(seen_BNTS, axis=-1)
