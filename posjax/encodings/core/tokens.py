"""What hooks are given: where tokens are, an end of attention, a pair of blocks, their state."""

from typing import Any

import flax
import jax

from posjax.encodings.core.entry import checked


@flax.struct.dataclass
class Positions:
  """Where tokens are, and who may see whom.

  pos          [B or 1, T, P]  the place an encoding sees; any integers or fractions; P is 1 in text
  order        [B or 1, T]     attention's own count: causality and windows go by it
  segment_ids  [B or 1, T]     only tokens of the same segment see each other; -1: padding, empty
  consecutive  whether `pos` is [1, T, 1] and counts up by one, padding aside: then what
               depends on the distance alone gets cheaper
  position_features  what the hook of that name made of the positions for all layers, or ()
  ids          [B, T] the tokens' numbers, for the hooks `positions` and `embed`; or ()
  """

  pos: jax.Array
  order: jax.Array
  segment_ids: jax.Array
  consecutive: bool = flax.struct.field(pytree_node=False, default=False, kw_only=True)
  position_features: Any = flax.struct.field(default=(), kw_only=True)
  ids: Any = flax.struct.field(default=(), kw_only=True)

  def attach(self, h, v=None, features=()):
    """The `AttentionInput` here. Raises ValueError, one line, if the positions do not fit `h`."""
    at = checked(self, *h.shape[:2])
    return AttentionInput(
      at.pos, at.order, at.segment_ids, h, v, features, consecutive=at.consecutive,
      position_features=at.position_features,
    )


@flax.struct.dataclass
class AttentionInput(Positions):
  """One end of attention, and what a cache stores.

  h         [B, T, N, H] of queries, which carry the softmax scale already; [B, T, K, H] of keys
  v         [B, T, K, H] the tokens' own values; of queries None in cross-attention
  features  an encoding's own, leaves [B or 1, T, ...]
  """

  h: jax.Array
  v: jax.Array | None = None
  features: Any = ()


@flax.struct.dataclass
class Pair:
  """A block of queries, a block of keys, and who sees whom: mask [B or 1, 1, T, S]."""

  q: AttentionInput
  k: AttentionInput
  mask: jax.Array
  bias: Any = None  # what the hook `position_bias` returned
  fully_visible: jax.Array | bool = False  # a scalar: all see all for sure; False says nothing

  @property
  def distance(self):
    """q.pos - k.pos, [B or 1, 1, T, S, P]: positive when the key lies before the query."""
    return self.q.pos[:, None, :, None] - self.k.pos[:, None, None, :]


@flax.struct.dataclass
class State:
  """What an encoding keeps from one call to the next: of a sequence, and in each of its layers."""

  sequence: Any = ()
  layer: Any = ()
