"""Rotary positions remapped per pair: the base of ReRoPE, Self-Extend, STRING and Dual Chunk.

  A_ij = q_i^T R(y_c(j) - x_c(i)) k_j / sqrt(H)        c = kind(i, j), such as near and far

R rotates as in rope.py. Each kind of pair has its own positions, x for queries and y for keys. One
product per kind holds the logits of that kind, and each pair of a block takes its logit from the
product of its kind. A block without pairs of a kind skips that product.

If a key has one position for all kinds, it is cached rotated; otherwise it is cached unrotated and
rotated block by block. `score` rotates the queries, so that in a chain a temperature may come
before or after a remap.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, qk_logits
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions
from posjax.encodings.parts.rotation import cos_sin, frequencies, rotate_by
from posjax.encodings.rope import Rope


class Remap(Encoding):
  """RoPE at remapped distances: override `query_places`, `key_places` and `kind`."""

  base: float = 10_000.0
  fraction: float = 1.0
  layout: str = 'half'
  causal_only = True  # the papers map earlier keys only
  own_score = True
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    rope = Rope(base=self.base, fraction=self.fraction, layout=self.layout, parent=None)
    rope.check(dims)

  def query_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the remapped query positions for each kind of pair: a tuple of [B or 1, T]."""
    raise NotImplementedError

  def key_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the remapped key positions: a tuple, of one array if all kinds share it."""
    raise NotImplementedError

  def kind(self, q_pos: jax.Array, k_pos: jax.Array) -> jax.Array:
    """Returns the kind of each pair, 0, 1, …; positions broadcast."""
    raise NotImplementedError

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    """Returns cosines and sines of queries per kind, and of keys if all kinds share them."""
    pos_BT = at.pos[..., 0]
    places = self.key_places(pos_BT)
    of_keys = self._waves(places, dtype) if len(places) == 1 else ()
    return self._waves(self.query_places(pos_BT), dtype), of_keys

  def _waves(self, places, dtype):
    theta = frequencies(round(self.dims.H * self.fraction), self.base)
    return tuple(cos_sin(place_BT, theta, dtype) for place_BT in places)

  def query(self, q: AttentionInput) -> AttentionInput:
    made, _ = q.position_features or self.position_features(q, at_least_float32(q.h))
    return q.replace(features=made, position_features=())

  def key(self, k: AttentionInput) -> AttentionInput:
    _, made = k.position_features or self.position_features(k, at_least_float32(k.h))
    return k.replace(h=rotate_by(k.h, *made[0], self.layout) if made else k.h, position_features=())

  def key_block(self, k: AttentionInput) -> AttentionInput:
    places = self.key_places(k.pos[..., 0])
    if len(places) == 1:
      return k
    waves = self._waves(places, at_least_float32(k.h))
    first, *others = (rotate_by(k.h, *wave, self.layout) for wave in waves)
    return k.replace(h=first, features=tuple(others))

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    q, k = pair.q, pair.k
    kind_B1TS = self.kind(q.pos[:, None, :, None, 0], k.pos[:, None, None, :, 0])
    keys = itertools.cycle((k.h, *k.features))
    s_BNTS = jnp.zeros_like(s_BNTS)
    for c, (made, k_BSKH) in enumerate(zip(q.features, keys, strict=False)):
      own_B1TS = kind_B1TS == c
      s_BNTS = lax.cond(
        jnp.any(own_B1TS & pair.mask), self._take, lambda s_BNTS, *_: s_BNTS,
        s_BNTS, own_B1TS, q.h, made, k_BSKH,
      )
    return s_BNTS, carry

  def _take(self, s_BNTS, own_B1TS, q_BTNH, made, k_BSKH):
    """Returns the scores, with new ones for the pairs of one kind."""
    return jnp.where(own_B1TS, qk_logits(rotate_by(q_BTNH, *made, self.layout), k_BSKH), s_BNTS)
