"""Attention: pure functions of two ends, the same answer from each implementation."""

from posjax.attention.blockwise import blockwise
from posjax.attention.mask import visible
from posjax.attention.reference import reference

__all__ = ['attend', 'blockwise', 'choose', 'reference', 'visible']

# Up to this many scores (T S), all at once is faster than blocks on two CPU cores, forward and
# backward together; on accelerators it was not measured. For the difference at length see
# experiments/attention_memory.py.
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
  if implementation == 'blockwise':
    return blockwise(q, k, encoding, causal=causal, window=window, block=block)
  raise ValueError(f"implementation is {implementation!r}; valid: reference, blockwise, auto")


def choose(T, S):
  """The implementation that 'auto' takes for T queries and S keys, and why."""
  if T * S <= REFERENCE_UP_TO:
    return 'reference', f'{T} x {S} scores are few enough to be held at once'
  return 'blockwise', f'{T} x {S} scores are more than {REFERENCE_UP_TO:,}: in blocks of them'
