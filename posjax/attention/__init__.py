"""Attention: pure functions of two ends, the same answer from each implementation."""

import jax
import jax.numpy as jnp

from posjax.attention.blockwise import blockwise
from posjax.attention.fused import check_fused, fused, has_cudnn, unsupported_hook
from posjax.attention.mask import visible
from posjax.attention.reference import reference
from posjax.encodings import name_of
from posjax.encodings.core.entry import without_padding

__all__ = ['ascending', 'attend', 'attend_emptied', 'blockwise', 'choose', 'reference', 'visible']

# Up to this many scores (T S), all at once is faster than blocks on two CPU cores, forward and
# backward together; on accelerators it was not measured.
REFERENCE_UP_TO = 256 * 256


def attend(q, k, encoding, **how):
  """What the queries `q` gather from the keys and values `k`: [B, T, N, H].

  Args:
    q: `AttentionInput`, h [B, T, N, H], scaled, as the encoding's hook `query` left them.
    k: `AttentionInput`, h and v [B, S, K, H], as the hook `key` left them; K divides N. The keys
      that a query sees ascend in order along S, unless they lie in a ring; empty slots may lie
      anywhere.
    encoding: a `Bound` encoding.
    **how: see `attend_emptied`.

  Raises:
    ValueError: an unknown implementation, or one that the encoding cannot have, or a mask that it
      has no meaning under.
  """
  return attend_emptied(without_padding(q), without_padding(k), encoding, **how)


def attend_emptied(
  q, k, encoding, *, causal=True, window=0, implementation='auto', block=128, ring=False
):
  """The same, for ends whose padding holds 0 already, as that of a cache does.

  Args:
    q, k, encoding: as of `attend`.
    causal: whether a query sees no key of later order. For the rest see `mask.py`.
    window: keys that a query sees, itself included, by order; 0: all.
    implementation: 'reference', 'blockwise', 'fused', or 'auto', see `choose`.
    block: queries and keys in a block of 'blockwise', times the encoding's trait `tile`. Need not
      divide T or S.
    ring: whether `k` is a ring buffer, in which the newest keys may lie before the oldest.
  """
  kind = encoding.module
  if kind.causal_only and not causal:
    raise ValueError(f'{name_of(kind)} is causal only: a query must not see later keys')
  if ring and jax.tree.leaves(jax.eval_shape(encoding.init_carry, q)):
    k = ascending(k)
  if implementation == 'auto':
    implementation, _ = choose(q.h.shape[1], k.h.shape[1], kind, q.h.dtype)
  if implementation == 'reference':
    return reference(q, k, encoding, causal=causal, window=window)
  if implementation == 'blockwise':
    block = min(block, kind.widest_block or block)
    return blockwise(q, k, encoding, causal=causal, window=window, block=block)
  if implementation == 'fused':
    check_fused(kind)
    return fused(q, k, causal=causal, window=window)
  raise ValueError(
    f'implementation is {implementation!r}; valid: reference, blockwise, fused, auto'
  )


def choose(T, S, encoding, dtype='float32'):
  """What 'auto' takes for T queries and S keys in `dtype`, and why."""
  if encoding.widest_block and S > encoding.widest_block:
    return 'blockwise', f'{name_of(encoding)} takes at most {encoding.widest_block} keys at once'
  if not unsupported_hook(encoding) and has_cudnn(
    T, S, encoding.dims.H * encoding.head_width_factor, dtype
  ):
    return 'fused', f'{name_of(encoding)} adds nothing to scores, and cuDNN takes {dtype}'
  if T * S <= REFERENCE_UP_TO:
    return 'reference', f'{T} x {S} scores are few enough to be held at once'
  return 'blockwise', f'{T} x {S} scores are more than {REFERENCE_UP_TO:,}: in blocks of them'


def ascending(k):
  """Keys of a ring buffer by ascending order, which a carry relies on; empty slots come first."""
  first = jnp.iinfo(k.order.dtype).min
  rank_BS = jnp.argsort(jnp.where(k.segment_ids >= 0, k.order, first), axis=1)

  def sort(x):
    rank = rank_BS.reshape(*rank_BS.shape, *[1] * (x.ndim - 2))
    return jnp.take_along_axis(x, rank, axis=1)

  return jax.tree.map(sort, k)
