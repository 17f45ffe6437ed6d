"""Scalable softmax: for n keys, the base of the softmax is a learned power of n instead of e.

Nakanishi 2025, arXiv 2501.19399.

  p_ij = n^(s z_ij) / sum_l n^(s z_il)        z_ij = q_i . k_j / sqrt(H)

This is a softmax of s ln(n) z_ij; each head of each layer has its own s. An ordinary softmax
flattens as the number of keys grows. `bias` adds a learned offset: s ln(n) + b. In trained models s
is about 0.43 (`start`). Alone, this encoding is NoPE; 'ssmax+rope' has positions.

n is the query's position plus 1, which is the number of visible keys under a causal mask without a
window. Keys are not counted: if positions restart, n counts within the document; if positions jump
or are drawn, or a window hides keys, n still follows the position. The first query, n = 1, has only
one key. A query that is moved to before position 0 has n = 1 too.
"""

import jax.numpy as jnp
from flax import linen as nn

from posjax.encodings.core.arrays import at_least_float32, sharpen
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput


class Ssmax(Encoding):
  start: float = 0.43
  bias: bool = False
  shift_invariant = False
  causal_only = True  # otherwise a query sees more than n keys

  def setup(self) -> None:
    self.scale_LN = self.weight('scale_LN', nn.initializers.constant(self.start))
    if self.bias:
      self.bias_LN = self.weight('bias_LN', nn.initializers.zeros)

  def query(self, q: AttentionInput) -> AttentionInput:
    dtype = at_least_float32(q.h)
    n_BT = jnp.maximum(q.pos[..., 0], 0).astype(dtype) + 1
    factor_BTN = self.scale_LN.astype(dtype) * jnp.log(n_BT)[..., None]
    return sharpen(q, factor_BTN + self.bias_LN.astype(dtype) if self.bias else factor_BTN)


EXAMPLES = dict(ssmax={}), dict(ssmax=dict(bias=True))
