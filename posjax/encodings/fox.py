"""The forgetting Transformer: a gate for each token and head, and a logit falls with all between.

Lin et al. 2025, ICLR, arXiv 2503.02130, equations 2 to 4.

  A_ij = q_i . k_j / sqrt(H) + sum_{l = j+1 .. i} log f_l        f_t = sigmoid(w_f . x_t + b_f)

ALiBi is a gate that is constant; a gate of 1 is no encoding. The sum runs over the keys that the
query sees, nearest first: c, the sum over the blocks that were visited, is carried from block to
block, so that no sum is ever over more than a block and float32 loses nothing at any length.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from posjax.encodings.encoding import Encoding, later, no_sum, wide


class Fox(Encoding):
  bias: float = 0.0
  causal_only = True
  contiguous = True

  def setup(self):
    self.gate_LDN = self.weight('gate_LDN', nn.initializers.normal(0.02))
    self.gate_bias_LN = self.weight('gate_bias_LN', nn.initializers.constant(self.bias))

  def features(self, x_BTD, at, state):
    gate_BTN = jnp.einsum(
      'BTD,DN->BTN', x_BTD, self.gate_LDN.astype(x_BTD.dtype), preferred_element_type=wide(x_BTD)
    )
    return jax.nn.log_sigmoid(gate_BTN + self.gate_bias_LN), state

  def key_block(self, k):
    log_f_BNS = k.features.swapaxes(1, 2)
    return k.replace(features=(log_f_BNS, later(log_f_BNS)))

  def init_carry(self, q):
    return no_sum(q)

  def score(self, s_BNTS, pair, carry):
    """Only a block that the mask cuts needs a sum for each pair; in others each key has its own."""
    return lax.cond(pair.whole, _whole, _cut, s_BNTS, pair, carry)


def _whole(s_BNTS, pair, c_BNT):
  log_f_BNS, later_BNS = pair.k.features
  s_BNTS = s_BNTS + c_BNT[..., None] + later_BNS[:, :, None]
  return s_BNTS, c_BNT + jnp.sum(log_f_BNS, axis=-1, keepdims=True)


def _cut(s_BNTS, pair, c_BNT):
  log_f_BNS, _ = pair.k.features
  seen_BNTS = jnp.where(pair.mask, log_f_BNS[:, :, None], 0)
  s_BNTS = s_BNTS + c_BNT[..., None] + later(seen_BNTS)
  return s_BNTS, c_BNT + jnp.sum(seen_BNTS, axis=-1)
