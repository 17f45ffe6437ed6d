"""Which query sees which key: computed from order and segment_ids of both, and never stored.

A query sees the keys of its own segment; with `causal` none of later order; with `window` only
keys less than `window` away in order, itself included (0: any distance). Causality, packing,
padding, empty cache slots and sliding windows all follow from this one rule.
"""

import flax
import jax
import jax.numpy as jnp

from posjax.encodings.core.tokens import NOWHERE, Positions


def visible(q: Positions, k: Positions, *, causal: bool, window: int) -> jax.Array:
  """Returns the mask [B or 1, 1, T, S], true where a query of `q` sees a key of `k`."""
  order_q, order_k = q.order[:, None, :, None], k.order[:, None, None, :]
  segment_q, segment_k = q.segment_ids[:, None, :, None], k.segment_ids[:, None, None, :]
  mask = (segment_q == segment_k) & (segment_k >= 0)
  if causal:
    mask &= order_k <= order_q
  if window:
    mask &= jnp.abs(order_q - order_k) < window
  return mask


def in_chunks(at: Positions, pos: jax.Array, chunk: int, shift: int = 0) -> Positions:
  """Returns `at` with chunks: a token sees only its own chunk of a text (Llama 4); 0: no chunks.

  A chunk of `chunk` positions on each axis becomes a segment: on a grid, a window of Swin; `shift`
  positions are missing from the first. A row must have fewer than 32,768 documents, and a grid of
  two axes at most 256 chunks on each.
  """
  if not chunk:
    return at
  per_axis = int(65_536 ** (1 / pos.shape[-1]))
  number_BTP = ((pos + shift) // chunk).astype(at.segment_ids.dtype) % per_axis
  # The first axis counts most: a block of a row-major grid then has few chunks, and skips the rest.
  places = per_axis ** jnp.arange(pos.shape[-1], dtype=number_BTP.dtype)[::-1]
  number = jnp.sum(number_BTP * places, axis=-1, dtype=number_BTP.dtype)
  number = jnp.where(pos[..., 0] == NOWHERE, 65_535, number)  # tokens without a place: their own
  own = at.segment_ids * 65_536 + number
  return at.replace(segment_ids=jnp.where(at.segment_ids >= 0, own, at.segment_ids))


@flax.struct.dataclass
class Extent:
  """Smallest and largest order and segment of all tokens but padding; whether padding exists."""

  first: jax.Array
  last: jax.Array
  low: jax.Array
  high: jax.Array
  padded: jax.Array


def extent(at: Positions) -> Extent:
  """Returns the `Extent` of all tokens of `at`, over rows and positions: scalars."""
  valid = at.segment_ids >= 0
  padded = ~jnp.all(valid)
  return Extent(*_range(at.order, valid), *_range(at.segment_ids, valid), padded)


def reachable(q: Extent, k: Extent, *, causal: bool, window: int) -> jax.Array:
  """Returns whether a query within the extent `q` may see a key within `k`; extents broadcast.

  It may be true for a pair of blocks that is fully masked; it is never false for any other pair.
  """
  # Also false if all queries or all keys are padding: their extent is empty, low above high.
  reach = (q.low <= k.high) & (k.low <= q.high)
  if causal:
    reach &= k.first <= q.last
  if window:
    reach &= (q.first - k.last < window) & (k.first - q.last < window)
  return reach


def fully_visible(q: Extent, k: Extent, *, causal: bool, window: int) -> jax.Array:
  """Returns whether every query within the extent `q` sees every key within `k`; they broadcast.

  It may be false for a pair of blocks that is fully visible; it is never true for any other pair.
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
