"""Who sees whom: a question of order and segment, answered from the two ends and never stored.

A query sees a key of its own segment; under `causal` not a later one; under a `window` only keys
less than `window` away in order, itself included (0: any distance). Causality, packing, padding,
empty cache slots and sliding windows are all this one rule.
"""

import jax.numpy as jnp


def visible(q, k, *, causal, window):
  """[B or 1, 1, T, S], true where a query of `q` sees a key of `k`."""
  order_q, order_k = q.order[:, None, :, None], k.order[:, None, None, :]
  segment_q, segment_k = q.segment_ids[:, None, :, None], k.segment_ids[:, None, None, :]
  mask = (segment_q == segment_k) & (segment_k >= 0)
  if causal:
    mask &= order_k <= order_q
  if window:
    mask &= jnp.abs(order_q - order_k) < window
  return mask


def reachable(q, k, *, causal, window):
  """Whether any query of `q` may see any key of `k`: a scalar, from minima and maxima alone.

  It may be true of a pair of blocks that turns out to be all masked, never false of one that is
  not. Padding is neutral.
  """
  q_first, q_last = _range(q.order, q.segment_ids)
  k_first, k_last = _range(k.order, k.segment_ids)
  q_low, q_high = _range(q.segment_ids, q.segment_ids)
  k_low, k_high = _range(k.segment_ids, k.segment_ids)
  # Also false where either end is all padding: its range is empty, low above high.
  reach = (q_low <= k_high) & (k_low <= q_high)
  if causal:
    reach &= k_first <= q_last
  if window:
    reach &= (q_first - k_last < window) & (k_first - q_last < window)
  return reach


def _range(values, segment_ids):
  """Smallest and largest of the values that are not padding."""
  valid = segment_ids >= 0
  limits = jnp.iinfo(values.dtype)
  # Half the range: differences of an empty range must not overflow.
  low = jnp.min(jnp.where(valid, values, limits.max // 2))
  high = jnp.max(jnp.where(valid, values, limits.min // 2))
  return low, high
