"""TUPE: logits of absolute positions are added to those of the content, with separate weights.

Ke et al. 2021, ICLR, arXiv 2006.15595, section 3.

  A_ij = (q_i . k_j + (p_i U_Q) . (p_j U_K)) / sqrt(2 H)  +  b_n[bucket(j - i)]

p is a table with a row for each position; all layers share p, U_Q and U_K. With `buckets` this is
TUPE-R, whose last term is the bias of t5.py; without `buckets`, TUPE-A. `untie_first` removes the
position of the first token, [CLS]: both terms are 0 for all keys of its query, and a learned
theta_n replaces both terms at its key for all other queries. (The paper's other parameter is equal
for all keys of the [CLS] query, so the softmax cancels it.) The authors' code normalizes p before
the projections, so the table starts with variance 1 here; the code also gives both projections a
bias.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.parts.buckets import check_buckets
from posjax.encodings.t5 import T5


class Tupe(Encoding):
  """TUPE for positions 0 .. length - 1; callers must not pass later ones (see `limit`)."""

  length: int = 512
  buckets: int = 0
  max_distance: int = 128
  bidirectional: bool = False
  untie_first: bool = False
  shift_invariant = False
  longer_tables = ('table_RD',)
  whole_positions = True
  limit = property(lambda self: self.length)

  def check(self, dims: Dims) -> None:
    if self.length < 1:
      raise ValueError(f'length, the rows of the table, must be positive; it is {self.length}')
    if self.buckets:
      sides = 1 if dims.causal and not self.bidirectional else 2
      check_buckets(self.buckets, self.max_distance, sides=sides)

  def setup(self) -> None:
    init = nn.initializers.normal(0.02)
    self.table_RD = self.weight('table_RD', nn.initializers.normal(1.0), R=self.length)
    self.query_DNH = self.weight('query_DNH', init)
    self.key_DNH = self.weight('key_DNH', init)
    if self.untie_first:
      self.theta_N = self.weight('theta_N', nn.initializers.zeros)
    if self.buckets:
      self.relative = T5(self.buckets, self.max_distance, self.bidirectional, dims=self.dims)

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    p_BTD = self.table_RD.astype(dtype)[at.pos[..., 0]]
    project = lambda w_DNH: jnp.einsum('BTD,DNH->BTNH', p_BTD, w_DNH.astype(dtype))
    return project(self.query_DNH), project(self.key_DNH)

  def query(self, q: AttentionInput) -> AttentionInput:
    place_BTNH, _ = q.position_features or self.position_features(q, at_least_float32(q.h))
    share = 2**-0.5  # of 1 / sqrt(2 H); the query carries the rest
    features = share * self.dims.scale * place_BTNH
    return q.replace(h=share * q.h, features=features, position_features=())

  def key(self, k: AttentionInput) -> AttentionInput:
    _, place_BTNH = k.position_features or self.position_features(k, at_least_float32(k.h))
    return k.replace(features=place_BTNH, position_features=())

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    bias_BNTS = jnp.einsum('BTNH,BSNH->BNTS', q.features, k.features)
    if self.buckets:
      bias_BNTS += self.relative.position_bias(q, k)
    if self.untie_first:
      theta_N11 = self.theta_N.astype(bias_BNTS.dtype)[:, None, None]
      bias_BNTS = jnp.where(k.pos[:, None, None, :, 0] == 0, theta_N11, bias_BNTS)
      bias_BNTS = jnp.where(q.pos[:, None, :, None, 0] == 0, 0, bias_BNTS)
    return bias_BNTS

  def weights(self) -> Any:
    if self.buckets:
      self.relative.weights()  # creates them; the line below includes them
    return super().weights()


EXAMPLES = (
  dict(tupe=dict(length=64)),
  dict(tupe=dict(length=64, buckets=8, max_distance=40, untie_first=True)),
)
