"""Attention to the keys that a cache stores of the tokens so far: forward only, exact.

A layer that sees all has a slot for each token; one with a window or with chunks has as many as it
sees, as a ring. The keys of each layer are arrays of their own, and those of a head lie together:
so products read them where they are, and one token's key is written in place.
"""

import jax
import jax.numpy as jnp
from jax import lax

from posjax.attention import attend_emptied
from posjax.attention.products import swap_axes
from posjax.encodings.core.entry import without_padding


def empty(one, batch, slots):
  """Keys without a token, each of the shape and dtype of `one`, as `LayerCache` stores them."""
  keys = jax.tree.map(lambda x: jnp.zeros((batch, slots, *x.shape[2:]), x.dtype), one)
  return swap_axes(keys.replace(segment_ids=keys.segment_ids - 1))


def grow(keys, slots):
  """The same keys with more slots. Their ring, if they are one, has not come round yet."""
  more = slots - keys.order.shape[1]
  pad = lambda x: jnp.pad(x, [(0, 0), (0, more)] + [(0, 0)] * (x.ndim - 2))
  keys = swap_axes(keys)
  empty_ids = jnp.pad(keys.segment_ids, [(0, 0), (0, more)], constant_values=-1)
  return swap_axes(jax.tree.map(pad, keys).replace(segment_ids=empty_ids))


def attend_stored(q, k, keys, length, encoding, **how):
  """What the queries `q` gather from `keys` and their own `k`, and the keys with these stored.

  Args:
    q, k, encoding, **how: as of `attend`.
    keys: `AttentionInput` as `LayerCache` has them.
    length: how many tokens came before.
  """
  slots = keys.order.shape[1]
  # Keys of several calls do not count up by one together, and were turned when they were made.
  q, k = without_padding(q), without_padding(k.replace(consecutive=False, position_features=()))
  if q.h.shape[1] == 1:
    keys = write(keys, k, length % slots)
    return attend_emptied(q, swap_axes(keys), encoding, **how), keys
  both = jax.tree.map(beside, swap_axes(keys), k)
  return attend_emptied(q, both, encoding, **how), swap_axes(newest(both, length, slots))


def write(keys, new, slot):
  """Puts one token, leaves [B or 1, 1, ...], into a slot."""
  axes = jax.tree.map(lambda _: 1, keys).replace(h=2, v=2)

  def put(x, new, axis):
    new = jnp.broadcast_to(new, (len(x), *new.shape[1:]))
    return lax.dynamic_update_slice_in_dim(x, new, slot, axis)

  # A loop of one turn, since XLA moves nothing out of it: a write for each product that reads the
  # keys would copy them all.
  write_all = lambda _, keys: jax.tree.map(put, keys, swap_axes(new), axes)
  return lax.fori_loop(slot, slot + 1, write_all, keys)


def newest(both, length, slots):
  """What the slots hold after the new tokens, which stand in `both` behind the slots so far."""
  last = length + both.order.shape[1] - slots - 1
  slot = jnp.arange(slots)
  token = last - (last - slot) % slots  # the newest of those whose slot it is
  source = jnp.where(token >= length, slots + token - length, slot)
  return jax.tree.map(lambda x: jnp.take(x, source, axis=1), both)


def beside(old, new):
  """Both, one behind the other along S; all rows, where they share the new ones."""
  return jnp.concatenate([old, jnp.broadcast_to(new, (len(old), *new.shape[1:]))], axis=1)

