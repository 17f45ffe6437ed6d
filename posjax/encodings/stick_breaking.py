"""Stick-breaking attention: each key, nearest first, takes a share of the remaining weight.

Tan et al. 2025, ICLR, arXiv 2410.17980, equations 1 to 4.

  b_ij = sigmoid(q_i . k_j / sqrt(H))       o_i = sum_{j < i} w_ij v_j + r_i v_i
  w_ij = b_ij prod_{j < l < i} (1 - b_il)   r_i = prod_{l < i} (1 - b_il), the remainder

There is no softmax and no other encoding: the order of the keys is the position. The carry from
block to block is the logarithm of the remaining weight: ln(1 - sigmoid(s)) = -softplus(s) loses no
digits. `remainder=False` omits the term r_i v_i; the output of the first token of a
document is then 0.
"""

from typing import Any

import jax
import jax.numpy as jnp

from posjax.encodings.core.arrays import per_head, suffix_sum, zero_carry
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair


class StickBreaking(Encoding):
  remainder: bool = True
  axes = None
  causal_only = True
  contiguous = True
  sees_itself = False
  normalizer = 'none'

  def init_carry(self, q: AttentionInput) -> Any:
    return zero_carry(q)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    earlier = pair.k.order[:, None, None, :] < pair.q.order[:, None, :, None]
    broken = pair.mask & earlier
    left_BNTS = jnp.where(broken, -jax.nn.softplus(s_BNTS), 0)  # ln(1 - b)
    log_w_BNTS = s_BNTS + left_BNTS + carry[..., None] + suffix_sum(left_BNTS)
    nothing = jnp.finfo(s_BNTS.dtype).min
    return jnp.where(broken, log_w_BNTS, nothing), carry + jnp.sum(left_BNTS, axis=-1)

  def finish(self, o_BTNH: jax.Array, q: AttentionInput, carry: Any) -> jax.Array:
    if not self.remainder:
      return o_BTNH
    if q.v is None:
      raise ValueError('stick_breaking: queries in cross-attention have no values, to which the '
                       'remainder belongs; set remainder=False')
    left_BTN1 = jnp.exp(carry).swapaxes(1, 2)[..., None]
    return o_BTNH + left_BTN1 * per_head(q.v, o_BTNH.shape[2])


EXAMPLES = dict(stick_breaking={}), dict(stick_breaking=dict(remainder=False))
