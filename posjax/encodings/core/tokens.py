"""Inputs of hooks: positions, one side of attention, a pair of blocks, and state."""

import dataclasses
from typing import Any

import flax
import jax
import jax.numpy as jnp

from posjax.encodings.core.entry import checked

# The position, on all axes, of a token without a place, such as a class token: far from all others,
# and exact in float32.
NOWHERE = -(2**24)


@flax.struct.dataclass
class Positions:
  """Positions of tokens, and the data that decides which tokens see each other.

  pos          [B or 1, T, P]  positions for encodings, integers or fractions; P is 1 in text;
               `NOWHERE` for a token without a place
  order        [B or 1, T]     attention's own token count, for causality and windows
  segment_ids  [B or 1, T]     tokens see only their own segment; -1: padding or an empty slot
  consecutive  whether `pos` is [1, T, 1] and increases by one, apart from padding: biases are
               then computed once per distance, not once per pair
  position_features  the result of the hook of that name, for all layers, or ()
  ids          [B, T] token ids, for the hooks `positions` and `embed`; or ()
  """

  pos: jax.Array
  order: jax.Array
  segment_ids: jax.Array
  consecutive: bool = flax.struct.field(pytree_node=False, default=False, kw_only=True)
  position_features: Any = flax.struct.field(default=(), kw_only=True)
  ids: Any = flax.struct.field(default=(), kw_only=True)

  @property
  def placed(self) -> jax.Array:
    """Returns which tokens have a place, [B or 1, T]; see `NOWHERE`."""
    return self.pos[..., 0] != NOWHERE

  def attach(
    self, h: jax.Array, v: jax.Array | None = None, features: Any = ()
  ) -> 'AttentionInput':
    """Returns the `AttentionInput`. Raises ValueError, one line, if positions do not fit `h`."""
    at = checked(self, *h.shape[:2])
    return AttentionInput(
      at.pos, at.order, at.segment_ids, h, v, features, consecutive=at.consecutive,
      position_features=at.position_features,
    )


@flax.struct.dataclass
class AttentionInput(Positions):
  """One side of attention: queries, or keys and values as a cache stores them.

  h         [B, T, N, H] queries, already multiplied by the softmax scale; [B, T, K, H] keys
  v         [B, T, K, H] the tokens' values; None for queries in cross-attention
  features  data of the encoding, leaves [B or 1, T, ...]
  """

  h: jax.Array
  v: jax.Array | None = None
  features: Any = ()


@flax.struct.dataclass
class Pair:
  """A block of queries, a block of keys, and their mask, [B or 1, 1, T, S]."""

  q: AttentionInput
  k: AttentionInput
  mask: jax.Array
  bias: Any = None  # the result of the hook `position_bias`
  fully_visible: jax.Array | bool = False  # a scalar; True: the mask is all True; False: unknown

  @property
  def distance(self) -> jax.Array:
    """Returns q.pos - k.pos, [B or 1, 1, T, S, P]: positive if the key is before the query."""
    return self.q.pos[:, None, :, None] - self.k.pos[:, None, None, :]


def on_axis(value: Any, axis: int | None) -> Any:
  """Returns an argument of a hook for an encoding that sees one axis only; None: all axes.

  On one axis, tokens without a place are at 0.
  """
  if axis is None:
    return value
  if isinstance(value, Pair):
    return dataclasses.replace(value, q=on_axis(value.q, axis), k=on_axis(value.k, axis))
  if isinstance(value, Positions):
    pos = value.pos[..., axis : axis + 1]
    return dataclasses.replace(value, pos=jnp.where(pos == NOWHERE, 0, pos))
  return value


def on_all_axes(pos: jax.Array, new: jax.Array, axis: int | None) -> jax.Array:
  """Returns positions `pos` with `new` ones on the only axis that an encoding sees.

  Tokens without a place get none.
  """
  if axis is None:
    return new
  new = jnp.where(pos[..., axis : axis + 1] == NOWHERE, NOWHERE, new)
  return jnp.concatenate([pos[..., :axis], new, pos[..., axis + 1 :]], axis=-1)


@flax.struct.dataclass
class State:
  """State of an encoding between calls: one for the sequence, and one for each of its layers."""

  sequence: Any = ()
  layer: Any = ()
