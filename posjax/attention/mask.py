"""Who sees whom: a question of order and segment, answered from the two ends and never stored.

A query sees a key of its own segment; under `causal` not a later one; under a `window` only keys
less than `window` away in order, itself included (0: any distance). Causality, packing, padding,
empty cache slots and sliding windows are all this one rule.
"""

import flax
import jax
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


def in_chunks(at, pos, chunk):
  """`at`, where tokens see those of their own chunk of a text alone (Llama 4); chunk 0: all.

  Each chunk of `chunk` positions becomes a segment; for fewer than 32,768 documents in a row.
  """
  if not chunk:
    return at
  number = (pos[..., 0] // chunk).astype(at.segment_ids.dtype) % 65_536
  own = at.segment_ids * 65_536 + number
  return at.replace(segment_ids=jnp.where(at.segment_ids >= 0, own, at.segment_ids))


@flax.struct.dataclass
class Extent:
  """Smallest and largest order and segment of some tokens, padding aside; whether there is any."""

  first: jax.Array
  last: jax.Array
  low: jax.Array
  high: jax.Array
  padded: jax.Array


def extent(at):
  """The `Extent` of all tokens at `at`, over rows and positions: scalars."""
  valid = at.segment_ids >= 0
  padded = ~jnp.all(valid)
  return Extent(*_range(at.order, valid), *_range(at.segment_ids, valid), padded)


def reachable(q, k, *, causal, window):
  """Whether any query within the extent `q` may see any key within `k`; extents broadcast.

  It may be true of a pair of blocks that turns out to be all masked, never false of one that is
  not.
  """
  # Also false where either end is all padding: its extent is empty, low above high.
  reach = (q.low <= k.high) & (k.low <= q.high)
  if causal:
    reach &= k.first <= q.last
  if window:
    reach &= (q.first - k.last < window) & (k.first - q.last < window)
  return reach


def fully_visible(q, k, *, causal, window):
  """Whether every query within the extent `q` sees every key within `k`; extents broadcast.

  It may be false of a pair of blocks in which all see all, never true of another one.
  """
  one = (q.low == q.high) & (k.low == k.high) & (q.low == k.low) & ~q.padded & ~k.padded
  if causal:
    one &= k.last <= q.first
  if window:
    one &= (q.last - k.first < window) & (k.last - q.first < window)
  return one


def _range(values, valid):
  limits = jnp.iinfo(values.dtype)
  # Half the range: differences of an empty range must not overflow.
  low = jnp.min(jnp.where(valid, values, limits.max // 2))
  high = jnp.max(jnp.where(valid, values, limits.min // 2))
  return low, high
