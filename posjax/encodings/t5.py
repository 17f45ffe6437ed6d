"""T5's bias: a learned number for each head and bucket of distances, wider the farther off.

Raffel et al. 2020, JMLR 21, arXiv 1910.10683, section 2.1; the buckets are those of the authors'
code. With E the half of the buckets that hold one distance each, and m = max(i - j, 0):

  A_ij = q_i . k_j / sqrt(H) + b_n[bucket(m)]
  bucket(m) = floor(m)                                                     if m < E
              min(N-1, E + trunc(ln(m/E) / ln(max_distance/E) (N - E)))    else, of N = 2 E buckets

Bidirectional: m = |i - j|, half of the buckets for either side. One table for all layers. T5 itself
has no 1/sqrt(H); its weights need `scaled=False`. GPT-NeoX and x-transformers keep it, and multiply
the table by sqrt(H): `bias_scale`.
"""

import math

import jax.numpy as jnp
from flax import linen as nn

from posjax.encodings.distance import DistanceBias
from posjax.encodings.encoding import wide


def bucket(distance, buckets=32, max_distance=128, bidirectional=False):
  """The bucket of each distance i - j, query less key, whole or not: int32."""
  offset = 0
  if bidirectional:
    buckets //= 2
    offset = jnp.where(distance < 0, buckets, 0)
    distance = jnp.abs(distance)
  m = jnp.maximum(distance, 0).astype(wide(distance))
  exact = buckets // 2
  per_e = (buckets - exact) / math.log(max_distance / exact)  # buckets for each factor of e
  # Whole distances lie on edges of buckets: a rounded logarithm must not fall below its edge.
  per_e *= 1 + float(jnp.finfo(m.dtype).eps)
  far = exact + (jnp.log(jnp.maximum(m, exact) / exact) * per_e).astype(jnp.int32)
  far = jnp.minimum(far, buckets - 1)
  return offset + jnp.where(m < exact, m.astype(jnp.int32), far)


def check_buckets(buckets, max_distance, sides):
  """Raises ValueError unless each side has as many buckets for one distance as for several."""
  if buckets < 2 * sides or buckets % (2 * sides):
    raise ValueError(f'buckets must be a positive multiple of {2 * sides}; it is {buckets}')
  if max_distance <= buckets // (2 * sides):
    raise ValueError(
      f'max_distance must be more than the {buckets // (2 * sides)} distances that have '
      f'buckets of their own; it is {max_distance}'
    )


class T5(DistanceBias):
  buckets: int = 32
  max_distance: int = 128
  bidirectional: bool = False
  scaled: bool = True
  bias_scale: float = 1.0
  linear_beyond = property(lambda self: self.max_distance)  # constant, in the last bucket

  def check(self, dims):
    check_buckets(self.buckets, self.max_distance, sides=2 if self.bidirectional else 1)

  def setup(self):
    init = nn.initializers.normal((self.dims.D or 1) ** -0.5)
    self.table_RN = self.weight('table_RN', init, R=self.buckets)

  def query(self, q):
    return q if self.scaled else q.replace(h=q.h / self.dims.scale)

  def of(self, distance):
    index = bucket(distance, self.buckets, self.max_distance, self.bidirectional)
    return self.table_RN.astype(distance.dtype)[index] * self.bias_scale


def examples():
  """Small settings, which the tests hold to the contract."""
  return T5(buckets=8, max_distance=40), T5(buckets=12, bidirectional=True, scaled=False)
