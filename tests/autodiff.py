"""Attention block by block with online softmax: memory linear in the length, any encoding.

Milakov and Gimelshein 2018, arXiv 1805.02867 (online softmax); Rabe and Staats 2021,
arXiv 2112.05682 (linear memory); Dao et al. 2022, arXiv 2205.14135 (blocks). For each key block:

  m' = max(m, max_j s_j)    p_j = exp(s_j - m')    l' = l e^(m - m') + sum_j p_j
  o' = o e^(m - m') + sum_j p_j v_j                                    in the end: o / l

Where an encoding's scores are the logarithms of its weights, m = 0 and nothing is divided.

Key blocks come in descending order, nearest first: a carry (`Encoding.init_carry`) relies on it.
Gradients are autodiff's, and both checkpoints keep them linear in memory. Without the outer one,
the running sums of every pair of blocks are kept for the backward pass; without the inner one, the
scores of a row of blocks; without either, all T x S.
"""

import jax
import jax.numpy as jnp
from jax import lax

from posjax.attention.mask import extent, reachable, visible, whole
from posjax.attention.reference import largest, mix, nonzero, per_query, weigh
from posjax.encodings.encoding import Pair, no_sum, scores


def blockwise(q, k, encoding, *, causal, window, block):
  """softmax(score) v, in blocks of `block` queries and keys; see `attend`."""
  T, S = q.h.shape[1], k.h.shape[1]
  q_blocks, k_blocks = _split(q, min(block, T)), _split(k, min(block, S))
  # Once for all pairs of blocks: where rows are spread over devices, this is what they must share.
  q_extents, k_extents = jax.vmap(extent)(q_blocks), jax.vmap(extent)(k_blocks)
  k_blocks = jax.vmap(encoding.key_block)(k_blocks)

  @jax.checkpoint
  def query_block(q_and_extent):
    q, q_extent = q_and_extent

    @jax.checkpoint
    def key_block(sums, k_and_extents):
      k, reach, all_see_all = k_and_extents

      def visit(sums):
        pair = Pair(q, k, visible(q, k, causal=causal, window=window), all_see_all)
        return _visit(sums, pair, encoding)

      return lax.cond(reach, visit, lambda sums: sums, sums), None

    ends = q_extent, k_extents
    reach = reachable(*ends, causal=causal, window=window)
    all_see_all = whole(*ends, causal=causal, window=window)
    empty = _empty(q, k.v.shape[-1], encoding)
    sums, _ = lax.scan(key_block, empty, (k_blocks, reach, all_see_all), reverse=True)
    o_BTNH, _, l_BNT, carry = sums
    if encoding.module.normalizer == 'softmax':
      o_BTNH /= per_query(nonzero(l_BNT))
    return encoding.finish(o_BTNH, q, carry).astype(q.h.dtype)

  o = lax.map(query_block, (q_blocks, q_extents))  # [blocks, B, block, N, H]
  return o.swapaxes(0, 1).reshape(o.shape[1], -1, *o.shape[3:])[:, :T]


def _visit(sums, pair, encoding):
  """Takes one block of keys into the running sums of one block of queries."""
  o_BTNH, m_BNT, l_BNT, carry = sums
  k, mask = pair.k, pair.mask
  s_BNTS, carry = encoding.score(scores(pair.q.h, k.h), pair, carry)
  if encoding.module.normalizer == 'softmax':
    m_new = jnp.maximum(m_BNT, largest(s_BNTS, mask))
  else:
    m_new = m_BNT
  p_BNTS = weigh(s_BNTS, mask, m_new)
  shrink_BNT = jnp.exp(m_BNT - m_new)
  gathered_BTNH = encoding.output(mix(p_BNTS, k.v), p_BNTS, pair)
  o_BTNH = o_BTNH * per_query(shrink_BNT) + gathered_BTNH
  return o_BTNH, m_new, l_BNT * shrink_BNT + jnp.sum(p_BNTS, axis=-1), carry


def _empty(q, width, encoding):
  """The sums before the first block: o, m, l and the carry."""
  l_BNT = no_sum(q)
  o_BTNH = jnp.broadcast_to(per_query(l_BNT), (*q.h.shape[:3], width))
  least = jnp.finfo(l_BNT.dtype).min if encoding.module.normalizer == 'softmax' else 0
  return o_BTNH, l_BNT + least, l_BNT, encoding.init_carry(q)


def _split(tokens, block):
  """Cuts the token axis of every leaf into blocks, [blocks, B or 1, block, ...]; pads the last."""
  T = tokens.h.shape[1]
  blocks = -(-T // block)
  padding = blocks * block - T

  def cut(x, fill=0):
    x = jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2), constant_values=fill)
    return x.reshape(x.shape[0], blocks, block, *x.shape[2:]).swapaxes(0, 1)

  split = jax.tree.map(cut, tokens)
  return split.replace(segment_ids=cut(tokens.segment_ids, fill=-1))
