"""Attention over the keys that a cache stores: forward only, exact.

A layer that sees all tokens has a slot for each token. A layer with a window or chunks has a ring
buffer with as many slots as it sees tokens. Each layer has its own arrays, and the keys of a head
are contiguous: products read keys without a copy, and one token's key is written in place.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from posjax.attention import attend_emptied
from posjax.attention.products import swap_axes
from posjax.encodings import AttentionInput, Bound
from posjax.encodings.core.entry import without_padding


def empty(one: AttentionInput, batch: int, slots: int) -> AttentionInput:
  """Returns empty slots with the shapes and dtypes of `one`, in the layout of `LayerCache`."""
  keys = jax.tree.map(lambda x: jnp.zeros((batch, slots, *x.shape[2:]), x.dtype), one)
  return swap_axes(keys.replace(segment_ids=keys.segment_ids - 1))


def grow(keys: AttentionInput, slots: int) -> AttentionInput:
  """Returns the keys with more slots. A ring buffer must not have wrapped around yet."""
  more = slots - keys.order.shape[1]
  pad = lambda x: jnp.pad(x, [(0, 0), (0, more)] + [(0, 0)] * (x.ndim - 2))
  keys = swap_axes(keys)
  empty_ids = jnp.pad(keys.segment_ids, [(0, 0), (0, more)], constant_values=-1)
  return swap_axes(jax.tree.map(pad, keys).replace(segment_ids=empty_ids))


def attend_stored(
  q: AttentionInput, k: AttentionInput, keys: AttentionInput, length: jax.Array | int,
  encoding: Bound, **how: Any,
) -> tuple[jax.Array, AttentionInput]:
  """Returns the outputs of the queries `q` over `keys` and `k`, and `keys` with `k` stored.

  Args:
    q, k, encoding, **how: see `attend`; `k` are the keys of the new tokens.
    keys: `AttentionInput` in the layout of `LayerCache`.
    length: number of earlier tokens.
  """
  slots = keys.order.shape[1]
  # Stored and new keys together are not consecutive, and the hook `key` has encoded both already.
  q, k = without_padding(q), without_padding(k.replace(consecutive=False, position_features=()))
  if q.h.shape[1] == 1:
    keys = write(keys, k, length % slots)
    return attend_emptied(q, swap_axes(keys), encoding, **how), keys
  both = jax.tree.map(beside, swap_axes(keys), k)
  return attend_emptied(q, both, encoding, **how), swap_axes(newest(both, length, slots))


def write(keys: AttentionInput, new: AttentionInput, slot: jax.Array | int) -> AttentionInput:
  """Writes one token, leaves [B or 1, 1, ...], into a slot."""
  axes = jax.tree.map(lambda _: 1, keys).replace(h=2, v=2)

  def put(x, new, axis):
    new = jnp.broadcast_to(new, (len(x), *new.shape[1:]))
    return lax.dynamic_update_slice_in_dim(x, new, slot, axis)

  # A loop with one iteration, because XLA moves nothing out of a loop: a separate write for each
  # product that reads the keys would copy all keys.
  write_all = lambda _, keys: jax.tree.map(put, keys, swap_axes(new), axes)
  return lax.fori_loop(slot, slot + 1, write_all, keys)


def newest(both: AttentionInput, length: jax.Array | int, slots: int) -> AttentionInput:
  """Returns the slots after the new tokens; `both` has the old slots, then the new tokens."""
  last = length + both.order.shape[1] - slots - 1
  slot = jnp.arange(slots)
  token = last - (last - slot) % slots  # the newest token that belongs in this slot
  source = jnp.where(token >= length, slots + token - length, slot)
  return jax.tree.map(lambda x: jnp.take(x, source, axis=1), both)


def beside(old: jax.Array, new: jax.Array) -> jax.Array:
  """Concatenates both along S; `new` is broadcast to all rows if they share it."""
  return jnp.concatenate([old, jnp.broadcast_to(new, (len(old), *new.shape[1:]))], axis=1)

