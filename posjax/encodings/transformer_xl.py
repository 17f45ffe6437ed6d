"""Transformer-XL's relative attention: a product of each query and sinusoids of the distance.

Dai et al. 2019, ACL, arXiv 1901.02860, section 3.3.

  A_ij = ((q_i + u) . k_j + (q_i + v) . W_R R_(i-j)) / sqrt(H)
  R_r = (sin r w_0, …, sin r w_(D/2-1), cos r w_0, …),  w_c = 10000^(-2c/D)

Each layer has its own W_R. All layers share u and v; with `untied`, each layer has its own u and v,
as in XLNet and in Hugging Face's port. W_R R_(i-j) is not built per pair: a sine or cosine of i - j
is a sum of products of sines and cosines of i and of j. If a is the first half of W_R^T (q_i + v)
and b the second, the second term is a product of D channels of the query and D of the key,

  (b sin iw - a cos iw, a sin iw + b cos iw) . (sin jw, cos jw)

With `clamp_len` c > 0, distances above c count as c, and distances below -c count as -c, as in the
authors' code and, on both sides, in XLNet's. With `one_sided`, all distances below 0 count as 0: an
encoder does not tell the order of later tokens, as in the released code of randomized positions
(Ruoss et al. 2023, arXiv 2305.16843), whose table lacks the rows of later keys.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput
from posjax.encodings.parts.rotation import frequencies


class TransformerXl(Encoding):
  untied: bool = False
  clamp_len: int = 0  # 0: no distance is clamped
  one_sided: bool = False
  linear_beyond = property(lambda self: self.clamp_len or None)
  tile = 1, 2  # T queries and S keys have T + S distances: few for a wide block

  def check(self, dims: Dims) -> None:
    if self.clamp_len < 0:
      raise ValueError(f'clamp_len must be positive, or 0 to clamp none; it is {self.clamp_len}')
    if dims.D < 2 or dims.D % 2:
      raise ValueError(f'the width D must be even, for pairs of sin and cos; it is {dims.D}')

  @property
  def ends(self) -> tuple[float, float]:
    """The smallest and the largest distance; the others count as these."""
    longest = self.clamp_len or math.inf
    return 0 if self.one_sided else -longest, longest

  def setup(self) -> None:
    init = nn.initializers.normal(0.02)
    self.position_LDNH = self.weight('position_LDNH', init)
    own = 'L' if self.untied else ''
    self.u_NH = self.weight(f'u_{own}NH', init)
    self.v_NH = self.weight(f'v_{own}NH', init)

  def query(self, q: AttentionInput) -> AttentionInput:
    return q.replace(h=q.h + (self.dims.scale * self.u_NH).astype(q.h.dtype))

  def key(self, k: AttentionInput) -> AttentionInput:
    # Cached, because otherwise each new token would recompute the sinusoids of all keys.
    pos_BS1 = k.pos[..., :1].astype(at_least_float32(k.h))
    return k.replace(features=jnp.concatenate(cos_sin(pos_BS1, self.dims.D), axis=-1))

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    dtype, key_BSD = at_least_float32(k.h), k.features
    position_LDNH = self.position_LDNH.astype(dtype)
    ab_BTND = jnp.einsum('BTNH,DNH->BTND', self._position(q), position_LDNH)
    a, b = jnp.split(ab_BTND, 2, axis=-1)
    sin, cos = (x[:, :, None] for x in cos_sin(q.pos[..., :1].astype(dtype), self.dims.D))
    query_BTND = jnp.concatenate([b * sin - a * cos, a * sin + b * cos], axis=-1)
    key_BSD = jnp.broadcast_to(key_BSD, (len(query_BTND), *key_BSD.shape[1:]))
    bias_BNTS = jnp.einsum('BTND,BSD->BNTS', query_BTND, key_BSD)
    distance_B1TS = q.pos[:, None, :, None, 0] - k.pos[:, None, None, :, 0]
    return self._clamped(bias_BNTS, ab_BTND, distance_B1TS)

  def _clamped(self, bias_BNTS, ab_BTND, distance_B1TS):
    """Replaces the bias of distances beyond the ends by the bias at the end."""
    low, high = self.ends
    for end, beyond in ((high, distance_B1TS >= high), (low, distance_B1TS <= low)):
      if math.isfinite(end):
        wave_D = jnp.concatenate(cos_sin(jnp.full(1, end, ab_BTND.dtype), self.dims.D))
        bias_BNT1 = jnp.einsum('BTND,D->BNT', ab_BTND, wave_D)[..., None]
        bias_BNTS = jnp.where(beyond, bias_BNT1, bias_BNTS)
    return bias_BNTS

  def distance_table(self, distance_R: jax.Array) -> jax.Array:
    inside_R = jnp.clip(distance_R, *self.ends)
    wave_RD = jnp.concatenate(cos_sin(inside_R[:, None], self.dims.D), axis=-1)
    return jnp.einsum('DNH,RD->NHR', self.position_LDNH.astype(wave_RD.dtype), wave_RD)

  def bias_from_table(self, q: AttentionInput, r_NHR: jax.Array) -> jax.Array:
    r_BNHR = jnp.broadcast_to(r_NHR, (len(q.h), *r_NHR.shape))
    return jnp.einsum('BTNH,BNHR->BNTR', self._position(q), r_BNHR)

  def _position(self, q):
    """Returns (q + v) / sqrt(H); q.h is (q + u) / sqrt(H), from `query`."""
    dtype = at_least_float32(q.h)
    return q.h.astype(dtype) + self.dims.scale * (self.v_NH - self.u_NH).astype(dtype)


def cos_sin(pos_1: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
  """Returns sines and cosines, [..., width / 2] each, of positions [..., 1]."""
  angle = pos_1 * jnp.asarray(frequencies(width), pos_1.dtype)
  return jnp.sin(angle), jnp.cos(angle)


EXAMPLES = dict(transformer_xl={}), dict(transformer_xl=dict(untied=True, clamp_len=5))
