"""Attention: pure functions of two ends, the same answer from each implementation."""

from posjax.attention.blockwise import blockwise
from posjax.attention.mask import visible
from posjax.attention.reference import reference

__all__ = ['attend', 'blockwise', 'choose', 'reference', 'visible']

# Up to this many scores (T S), all at once is faster than blocks, forward and backward together.
# Measured on two CPU cores; experiments/attention_memory.py shows the difference at length.
REFERENCE_UP_TO = 256 * 256


def attend(q, k, encoding, *, causal=True, window=0, implementation='auto', block=128):
  """What the queries `q` gather from the keys and values `k`: [B, T, N, H].

  Args:
    q: `Tokens`, h [B, T, N, H], scaled, as the encoding's hook `query` left them.
    k: `Tokens`, h and v [B, S, K, H], as the hook `key` left them; K divides N.
    encoding: a `Bound` encoding.
    causal: whether a query sees no key of later order. For the rest see `mask.py`.
    window: keys that a query sees, itself included, by order; 0: all.
    implementation: 'reference', 'blockwise', or 'auto', see `choose`.
    block: queries and keys in a block of 'blockwise'. Need not divide T or S.
  """
  if implementation == 'auto':
    implementation, _ = choose(q.h.shape[1], k.h.shape[1])
  if implementation == 'reference':
    return reference(q, k, encoding, causal=causal, window=window)
  return blockwise(q, k, encoding, causal=causal, window=window, block=block)


def choose(T, S):
  """The implementation that 'auto' takes for T queries and S keys, and why."""
  if T * S <= REFERENCE_UP_TO:
    return 'reference', f'{T} x {S} scores are fastest all at once'
  return 'blockwise', f'{T} x {S} scores are slower than blocks, and larger than memory should hold'
