"""Biases that depend on the distance alone: the base of ALiBi, T5, KERPLE and others."""

import jax
import jax.numpy as jnp

from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput


class DistanceBias(Encoding):
  """An encoding that adds a bias per head and distance to each score: override `bias`."""

  def bias(self, distance: jax.Array) -> jax.Array:
    """Returns the bias of scores, [..., N], for distances [...], query minus key."""
    raise NotImplementedError

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    return jnp.moveaxis(self.bias(pair_distances(q, k)), -1, 1)

  def distance_table(self, distance_R: jax.Array) -> jax.Array:
    return self.bias(distance_R).T

  def bias_from_table(self, q: AttentionInput, r_NR: jax.Array) -> jax.Array:
    return r_NR[None, :, None]


def pair_distances(q: AttentionInput, k: AttentionInput) -> jax.Array:
  """Returns q.pos - k.pos of all pairs, [B or 1, T, S], in the dtype of biases."""
  distance_BTS = q.pos[:, :, None, 0] - k.pos[:, None, :, 0]
  return distance_BTS.astype(at_least_float32(k.h))
