"""DeBERTa: products of content and relative positions in both directions, with separate weights.

He et al. 2021, ICLR, arXiv 2006.03654, section 3.1; buckets: He et al. 2021, arXiv 2111.09543.

  A_ij = (q_i . k_j + q_i . Kr_d + k_j . Qr_d) / sqrt(3 H)         d = clip(i - j + k, 0, 2k - 1)
  Kr = P W_K,  Qr = P W_Q + b          P: [2k, D], one for all layers

The second term is c2p (content to position), the third p2c; with only one of these, 3 becomes 2. In
the third term the paper has d(j, i) (`mirrored`); the released code, and so its checkpoints, have
d(i, j). Version 1 has k = max_distance. Version 2 has k = `buckets` and first maps i - j to a
bucket: one bucket per distance up to k/2, wider buckets beyond.

Each layer has its own W_K and W_Q. Where version 2 reuses the layer's key and query projections
(share_att_key), its checkpoints hold these weights twice here. Where version 2 normalizes P, P here
is the normalized table. Kr has no bias, which would add the same to all keys of a query.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, per_head
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair
from posjax.encodings.parts.distance import pair_distances
from posjax.encodings.parts.relative import of_keys, of_queries

TERMS = ('c2p', 'p2c', 'c2p+p2c')


@flax.struct.dataclass
class Tables:
  """Kr [1, R, K, H] and Qr [1, R, N, H] for a block of keys; Qr is multiplied by the scale."""

  keys: jax.Array | None
  queries: jax.Array | None


class Deberta(Encoding):
  max_distance: int = 512
  buckets: int = 0
  terms: str = 'c2p+p2c'
  mirrored: bool = False
  whole_positions = True
  linear_beyond = property(lambda self: self.max_distance)  # constant beyond

  def check(self, dims: Dims) -> None:
    if self.terms not in TERMS:
      raise ValueError(f'terms is {self.terms!r}; valid: {", ".join(TERMS)}')
    if self.buckets < 0 or self.buckets % 2:
      raise ValueError(f'buckets must be even, or 0 for none; it is {self.buckets}')
    if self.max_distance < self.buckets // 2 + 2:
      raise ValueError(
        f'max_distance must be at least {self.buckets // 2 + 2} for {self.buckets} buckets; '
        f'it is {self.max_distance}'
      )

  def setup(self) -> None:
    init = nn.initializers.normal(0.02)
    self.table_RD = self.weight('table_RD', init, R=2 * (self.buckets or self.max_distance))
    if 'c2p' in self.terms:
      self.key_LDKH = self.weight('key_LDKH', init)
    if 'p2c' in self.terms:
      self.query_LDNH = self.weight('query_LDNH', init)
      self.query_bias_LNH = self.weight('query_bias_LNH', nn.initializers.zeros)

  @property
  def _group_heads(self):
    """Returns 1 / sqrt(3) or 1 / sqrt(2): the scale of all terms without its 1 / sqrt(H)."""
    return (2 + self.terms.count('+')) ** -0.5

  def query(self, q: AttentionInput) -> AttentionInput:
    return q.replace(h=self._group_heads * q.h)

  # Not once per pair of blocks: the table may have more rows than a block has keys.
  def key_block(self, k: AttentionInput) -> AttentionInput:
    dtype, keys, queries = at_least_float32(k.h), None, None
    if 'c2p' in self.terms:
      keys = project(self.table_RD, self.key_LDKH, dtype)[None]
    if 'p2c' in self.terms:
      queries = project(self.table_RD, self.query_LDNH, dtype)[None] + self.query_bias_LNH
      queries *= self._group_heads * self.dims.scale
    return k.replace(features=Tables(keys, queries))

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array | None:
    if 'c2p' not in self.terms:
      return None
    z_BNTR = self.bias_from_table(q, self._of_heads(k.features.keys))
    return jnp.take_along_axis(z_BNTR, self._row(pair_distances(q, k))[:, None], axis=-1)

  def distance_table(self, distance_R: jax.Array) -> jax.Array | None:
    if 'c2p' not in self.terms:
      return None
    keys_RKH = project(self.table_RD, self.key_LDKH, distance_R.dtype)
    return self._of_heads(keys_RKH[None, self._row(distance_R)])

  def bias_from_table(self, q: AttentionInput, r_NHR: jax.Array) -> jax.Array:
    return of_queries(q, r_NHR)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    s_BNTS, carry = super().score(s_BNTS, pair, carry)
    if 'p2c' in self.terms:
      distance_BTS = pair_distances(pair.q, pair.k)
      row_BTS = self._row(-distance_BTS if self.mirrored else distance_BTS)
      k_BSNH = per_head(pair.k.h, self.dims.N)
      s_BNTS += of_keys(pair, k_BSNH, pair.k.features.queries[0], row_BTS)
    return s_BNTS, carry

  def _of_heads(self, keys_1RKH):
    return per_head(keys_1RKH, self.dims.N)[0].transpose(1, 2, 0)

  def _row(self, distance):
    m = self.max_distance
    index = jnp.clip(distance, -m, m).astype(jnp.int32) + m
    return jnp.asarray(rows(m, self.buckets))[index]


def project(table_RD: jax.Array, weight_DNH: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
  return jnp.einsum('RD,DNH->RNH', table_RD.astype(dtype), weight_DNH.astype(dtype))


def rows(max_distance: int, buckets: int = 0) -> np.ndarray:
  """Returns d for the distances from -max_distance to max_distance; beyond, d is constant."""
  r, k = np.arange(-max_distance, max_distance + 1), max_distance
  if buckets:
    r, k = bucket(r, buckets, max_distance), buckets
  return np.clip(r + k, 0, 2 * k - 1)


def bucket(distance: np.ndarray, buckets: int, max_distance: int) -> np.ndarray:
  """Returns the bucket of each integer distance, with its sign, by the authors' rule.

  Computed in float64 at trace time: a rounding error of the logarithm could move a distance at the
  edge of a bucket into the next bucket.
  """
  half, size = buckets // 2, np.abs(distance)
  share = np.log(np.maximum(size, half) / half) / np.log((max_distance - 1) / half)
  far = half + np.ceil(share * (half - 1)).astype(int)
  return np.where(size <= half, distance, np.sign(distance) * far)


EXAMPLES = (
  dict(deberta=dict(max_distance=5)),
  dict(deberta=dict(max_distance=40, buckets=8, mirrored=True)),
)
