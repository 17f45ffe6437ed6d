"""Buckets of distances: one per near distance, logarithmic beyond (arXiv 1910.10683)."""

import math

import jax
import jax.numpy as jnp

from posjax.encodings.core.arrays import at_least_float32


def bucket(
  distance: jax.Array, buckets: int = 32, max_distance: int = 128, bidirectional: bool = False
) -> jax.Array:
  """Returns the bucket, int32, of each distance i - j, query minus key, integer or fraction."""
  offset = 0
  if bidirectional:
    buckets //= 2
    offset = jnp.where(distance < 0, buckets, 0)
    distance = jnp.abs(distance)
  m = jnp.maximum(distance, 0).astype(at_least_float32(distance))
  exact = buckets // 2
  per_e = (buckets - exact) / math.log(max_distance / exact)  # buckets per factor of e
  # Integer distances lie on edges of buckets: a rounded logarithm must not fall below its edge.
  per_e *= 1 + float(jnp.finfo(m.dtype).eps)
  far = exact + (jnp.log(jnp.maximum(m, exact) / exact) * per_e).astype(jnp.int32)
  far = jnp.minimum(far, buckets - 1)
  return offset + jnp.where(m < exact, m.astype(jnp.int32), far)


def check_buckets(buckets: int, max_distance: int, sides: int) -> None:
  """Raises ValueError unless each side has as many one-distance buckets as wider ones."""
  if buckets < 2 * sides or buckets % (2 * sides):
    raise ValueError(f'buckets must be a positive multiple of {2 * sides}; it is {buckets}')
  if max_distance <= buckets // (2 * sides):
    raise ValueError(
      f'max_distance must be more than {buckets // (2 * sides)}, the number of near distances '
      f'with one bucket each; it is {max_distance}'
    )
