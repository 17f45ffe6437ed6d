"""A peer of the kernel: online softmax over blocks as a plain scan, differentiated by autodiff.

It avoids everything that could be wrong in posjax/attention/blockwise: no gradient is written by
hand, biases are computed pair by pair, all rows are processed together, and autodiff stores the
carry that hooks see.
"""

import jax
import jax.numpy as jnp
from jax import lax

from posjax.attention.blockwise.blocks import split
from posjax.attention.mask import extent, fully_visible, reachable, visible
from posjax.attention.products import weighted_values
from posjax.attention.reference import largest, nonzero, per_query, weigh
from posjax.encodings.core.arrays import qk_logits, zero_carry
from posjax.encodings.core.tokens import Pair


def blockwise(q, k, encoding, *, causal, window, block):
  """Returns softmax(score) v, in blocks of `block` queries and keys; see `attend`."""
  T, S = q.h.shape[1], k.h.shape[1]
  softmax = encoding.module.normalizer == 'softmax'
  q_blocks, k_blocks = split(q, min(block, T)), split(k, min(block, S))
  q_extents, k_extents = jax.vmap(extent)(q_blocks), jax.vmap(extent)(k_blocks)
  k_blocks = jax.vmap(encoding.key_block)(k_blocks)

  def query_block(q_and_extent):
    q, q_extent = q_and_extent
    ends = q_extent, k_extents
    reach = reachable(*ends, causal=causal, window=window)
    all_see_all = fully_visible(*ends, causal=causal, window=window)

    def key_block(sums, k_and_extents):
      k, reach, all_see_all = k_and_extents

      def visit(sums):
        mask = visible(q, k, causal=causal, window=window)
        pair = Pair(q, k, mask, encoding.position_bias(q, k), all_see_all)
        return _visit(sums, pair, encoding, softmax)

      return lax.cond(reach, visit, lambda sums: sums, sums), None

    empty = _empty(q, k.v.shape[-1], encoding, softmax)
    sums, _ = lax.scan(key_block, empty, (k_blocks, reach, all_see_all), reverse=True)
    o_BTNH, _, l_BNT, carry = sums
    if softmax:
      o_BTNH /= per_query(nonzero(l_BNT))
    return encoding.finish(o_BTNH, q, carry).astype(q.h.dtype)

  o = lax.map(query_block, (q_blocks, q_extents))  # [blocks, B, block, N, H]
  return o.swapaxes(0, 1).reshape(o.shape[1], -1, *o.shape[3:])[:, :T]


def _visit(sums, pair, encoding, softmax):
  """Adds one block of keys to the running sums of one block of queries."""
  o_BTNH, m_BNT, l_BNT, carry = sums
  k, mask = pair.k, pair.mask
  s_BNTS, carry = encoding.score(qk_logits(pair.q.h, k.h), pair, carry)
  m_new = jnp.maximum(m_BNT, largest(s_BNTS, mask)) if softmax else m_BNT
  p_BNTS = weigh(s_BNTS, mask, m_new)
  shrink_BNT = jnp.exp(m_BNT - m_new)
  gathered_BTNH = encoding.output(
    weighted_values(p_BNTS, k.v.swapaxes(1, 2)).swapaxes(1, 2), p_BNTS, pair
  )
  o_BTNH = o_BTNH * per_query(shrink_BNT) + gathered_BTNH
  return o_BTNH, m_new, l_BNT * shrink_BNT + jnp.sum(p_BNTS, axis=-1), carry


def _empty(q, width, encoding, softmax):
  """Returns the sums before the first block: o, m, l and the carry."""
  l_BNT = zero_carry(q)
  o_BTNH = jnp.broadcast_to(per_query(l_BNT), (*q.h.shape[:3], width))
  least = jnp.finfo(l_BNT.dtype).min if softmax else 0
  return o_BTNH, l_BNT + least, l_BNT, encoding.init_carry(q)
