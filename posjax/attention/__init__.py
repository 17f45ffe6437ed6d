"""Attention: pure functions of queries and keys; every implementation returns the same result."""

from typing import Any

import jax
import jax.numpy as jnp

from posjax.attention.blockwise import blockwise
from posjax.attention.fused import check_fused, fused, has_cudnn, unsupported_hook
from posjax.attention.mask import visible
from posjax.attention.reference import reference
from posjax.attention.ring import ring_attention, sharded, shards
from posjax.encodings import AttentionInput, Bound, Encoding, name_of
from posjax.encodings.core.entry import without_padding

__all__ = ['ascending', 'attend', 'attend_emptied', 'blockwise', 'choose', 'reference', 'visible']

# Up to this many logits (T S), the reference is faster than blocks on two CPU cores, forward and
# backward together; not measured on accelerators.
REFERENCE_UP_TO = 256 * 256


def attend(q: AttentionInput, k: AttentionInput, encoding: Bound, **how: Any) -> jax.Array:
  """Returns the outputs of the queries `q` over the keys and values `k`, [B, T, N, H].

  Args:
    q: `AttentionInput`, h [B, T, N, H], scaled, as the encoding's hook `query` returned it.
    k: `AttentionInput`, h and v [B, S, K, H], as the hook `key` returned it; K divides N. The keys
      that a query sees have ascending `order` along S, unless they are in a ring buffer; empty
      slots may be anywhere.
    encoding: a `Bound` encoding.
    **how: see `attend_emptied`.

  Raises:
    ValueError: the implementation is unknown, or the encoding is causal only and `causal` is False.
    UserError: the implementation is 'fused', which does not support the encoding.
  """
  return attend_emptied(without_padding(q), without_padding(k), encoding, **how)


def attend_emptied(
  q: AttentionInput, k: AttentionInput, encoding: Bound, *, causal: bool = True, window: int = 0,
  implementation: str = 'auto', block: int = 128, ring: bool = False,
) -> jax.Array:
  """Like `attend`, for queries and keys whose padding is already 0, as in a cache.

  Args:
    q, k, encoding: see `attend`.
    causal: whether keys of later order are masked. `mask.py` has the other rules.
    window: number of keys that a query sees, itself included, counted by order; 0: all.
    implementation: 'reference', 'blockwise', 'fused', or 'auto', see `choose`.
    block: queries and keys in a block of 'blockwise', times the encoding's trait `tile`. It need
      not divide T or S.
    ring: whether `k` is a ring buffer, in which the newest keys may come before the oldest.
  """
  kind = encoding.module
  if kind.causal_only and not causal:
    raise ValueError(f'{name_of(kind)} is causal only: a query must not see later keys')
  encoding = encoding.prepared()
  if ring and jax.tree.leaves(jax.eval_shape(encoding.init_carry, q)):
    k = ascending(k)
  if implementation == 'auto' or sharded(q.h.shape[1], k.h.shape[1]):
    implementation, _ = choose(q.h.shape[1], k.h.shape[1], kind, q.h.dtype)
  if implementation == 'reference':
    return reference(q, k, encoding, causal=causal, window=window)
  if implementation in ('blockwise', 'ring'):
    in_blocks = ring_attention if implementation == 'ring' else blockwise
    block = min(block, kind.widest_block or block)
    return in_blocks(q, k, encoding, causal=causal, window=window, block=block)
  if implementation == 'fused':
    check_fused(kind)
    return fused(q, k, causal=causal, window=window)
  raise ValueError(
    f'implementation is {implementation!r}; valid: reference, blockwise, fused, auto'
  )


def choose(
  T: int, S: int, encoding: Encoding, dtype: jax.typing.DTypeLike = 'float32'
) -> tuple[str, str]:
  """Returns what 'auto' selects for T queries and S keys in `dtype`, and the reason.

  'ring' is selected by the mesh alone, whatever the config says.
  """
  if sharded(T, S):
    return 'ring', f'the mesh shards {T} tokens over {shards()} devices'
  if encoding.widest_block and S > encoding.widest_block:
    return 'blockwise', f'{name_of(encoding)} takes at most {encoding.widest_block} keys in a block'
  if not unsupported_hook(encoding) and has_cudnn(
    T, S, encoding.dims.H * encoding.head_width_factor, dtype
  ):
    return 'fused', f'{name_of(encoding)} adds nothing to logits, and cuDNN supports {dtype}'
  if T * S <= REFERENCE_UP_TO:
    return 'reference', f'{T} x {S} logits are few enough for one pass'
  return 'blockwise', f'{T} x {S} logits are more than {REFERENCE_UP_TO:,}: too many for one pass'


def ascending(k: AttentionInput) -> AttentionInput:
  """Sorts the keys of a ring buffer by order, as a carry requires; empty slots come first."""
  first = jnp.iinfo(k.order.dtype).min
  rank_BS = jnp.argsort(jnp.where(k.segment_ids >= 0, k.order, first), axis=1)

  def sort(x):
    rank = rank_BS.reshape(*rank_BS.shape, *[1] * (x.ndim - 2))
    return jnp.take_along_axis(x, rank, axis=1)

  return jax.tree.map(sort, k)
