"""Relative keys and values: a learned vector for each distance, added to the key and the value.

Shaw et al. 2018, NAACL, arXiv 1803.02155, equations 3 to 5.

  A_ij = q_i . (k_j + aK_c) / sqrt(H)        o_i = sum_j p_ij (v_j + aV_c)
  c = clip(j - i, -clip, clip) + clip

`with_queries` is method 4 of Huang et al. 2020, Findings of EMNLP, arXiv 2009.13658: it also adds
the product of the key and the vector, + k_j . aK_c / sqrt(H). BERT calls this relative_key_query,
and relative_key the form with neither values nor queries; in BERT, `clip` is the length minus one
and the rows of the table are in reverse order.

Each layer has its own tables, which its heads share. No vector is built per pair: queries and keys
are first multiplied by all rows of the table, and the attention weights of a row are summed before
they are multiplied by its vector.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.toeplitz import unskew
from posjax.encodings.core.tokens import AttentionInput, Pair
from posjax.encodings.parts.distance import pair_distances
from posjax.encodings.parts.relative import descending, of_keys, of_queries


class Shaw(Encoding):
  clip: int = 16
  with_values: bool = True
  with_queries: bool = False
  whole_positions = True
  linear_beyond = property(lambda self: self.clip)  # constant
  tile = 0.5, 2  # T queries and S keys have T + S distances: few for a wide block

  def check(self, dims: Dims) -> None:
    if self.clip < 0:
      raise ValueError(f'clip must not be negative; it is {self.clip}')

  def setup(self) -> None:
    init = nn.initializers.glorot_uniform()
    rows = 2 * self.clip + 1
    self.keys_LRH = self.weight('keys_LRH', init, R=rows)
    if self.with_values:
      self.values_LRH = self.weight('values_LRH', init, R=rows)

  # The query carries the scale, so this term is scaled like the content term.
  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    z_BNTR = self.bias_from_table(q, self.keys_LRH.T[None])
    row_B1TS = self._row(pair_distances(q, k))[:, None]
    return jnp.take_along_axis(z_BNTR, row_B1TS, axis=-1)

  def distance_table(self, distance_R: jax.Array) -> jax.Array:
    return self.keys_LRH[self._row(distance_R)].T[None]

  def bias_from_table(self, q: AttentionInput, r_1HR: jax.Array) -> jax.Array:
    return of_queries(q, r_1HR)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    s_BNTS, carry = super().score(s_BNTS, pair, carry)
    if self.with_queries:
      rows_R1H = self.dims.scale * self.keys_LRH[:, None]
      more_BKTS = of_keys(pair, pair.k.h, rows_R1H, self._row(pair_distances(pair.q, pair.k)))
      s_BNTS += jnp.repeat(more_BKTS, self.dims.N // self.dims.K, axis=1)
    return s_BNTS, carry

  def output(self, o_BTNH: jax.Array, p_BNTS: jax.Array, pair: Pair) -> jax.Array:
    if not self.with_values:
      return o_BTNH
    values_RH = self.values_LRH.astype(p_BNTS.dtype)
    row_BTS = self._row(pair_distances(pair.q, pair.k))
    if pair.q.consecutive and pair.k.consecutive:
      return o_BTNH + _consecutive(p_BNTS, row_BTS[0], values_RH)
    return o_BTNH + _any(p_BNTS, row_BTS, values_RH)

  def _row(self, distance):
    return self.clip - jnp.clip(distance, -self.clip, self.clip).astype(jnp.int32)


def _any(p_BNTS, row_BTS, values_RH):
  """Returns sum_j p_ij values[row_ij], [B, T, N, H]; sums the weights of each row first."""
  p_BTSN = jnp.moveaxis(p_BNTS, 1, -1)
  row_BTS = jnp.broadcast_to(row_BTS, p_BTSN.shape[:-1])
  add = lambda p_SN, row_S: jax.ops.segment_sum(p_SN, row_S, len(values_RH))
  return jnp.einsum('BTRN,RH->BTNH', jax.vmap(jax.vmap(add))(p_BTSN, row_BTS), values_RH)


def _consecutive(p_BNTS, row_TS, values_RH):
  """Returns the same as `_any`, for the rows of consecutive positions."""

  def near(p):
    return jnp.einsum('BNTR,RH->BTNH', unskew(p), values_RH[descending(row_TS)])

  def far(p):
    return jnp.sum(p, axis=-1).swapaxes(1, 2)[..., None] * values_RH[row_TS[0, 0]]

  return lax.cond(jnp.min(row_TS) == jnp.max(row_TS), far, near, p_BNTS)


EXAMPLES = dict(shaw=dict(clip=4)), dict(shaw=dict(clip=3, with_values=False, with_queries=True))
