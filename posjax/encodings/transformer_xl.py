"""Transformer-XL's relative attention: sinusoids of the distance, seen through each query.

Dai et al. 2019, ACL, arXiv 1901.02860, section 3.3.

  A_ij = ((q_i + u) . k_j + (q_i + v) . W_R R_(i-j)) / sqrt(H)
  R_r = (sin r w_0, …, sin r w_(D/2-1), cos r w_0, …),  w_c = 10000^(-2c/D)

W_R is a layer's own; u and v are shared by all. W_R R_(i-j) is built for no pair: a sine or cosine
of i - j is a sum of products of those of i and of j. With a the first and b the second half of
W_R^T (q_i + v), the second term is the product of D channels of either end,

  (b sin iw - a cos iw, a sin iw + b cos iw) . (sin jw, cos jw)
"""

import jax.numpy as jnp
from flax import linen as nn

from posjax.encodings.encoding import Encoding, wide
from posjax.encodings.rope import frequencies


class TransformerXl(Encoding):

  def check(self, dims):
    if dims.D < 2 or dims.D % 2:
      raise ValueError(f'it needs an even width D, for sines and cosines; D is {dims.D}')

  def setup(self):
    init = nn.initializers.normal(0.02)
    self.position_LDNH = self.weight('position_LDNH', init)
    self.u_NH = self.weight('u_NH', init)
    self.v_NH = self.weight('v_NH', init)

  def query(self, q):
    dtype, scale = wide(q.h), self.dims.scale
    content_BTNH = q.h + (scale * self.u_NH).astype(q.h.dtype)
    position_BTNH = q.h.astype(dtype) + (scale * self.v_NH).astype(dtype)
    ab_BTND = jnp.einsum('BTNH,DNH->BTND', position_BTNH, self.position_LDNH.astype(dtype))
    a, b = jnp.split(ab_BTND, 2, axis=-1)
    sin, cos = self._waves(q, dtype)
    sin, cos = sin[:, :, None], cos[:, :, None]
    features = jnp.concatenate([b * sin - a * cos, a * sin + b * cos], axis=-1)
    return q.replace(h=content_BTNH, features=features)

  def key_block(self, k):
    # Not in `key`: the cache would hold D more channels for what the position tells.
    return k.replace(features=jnp.concatenate(self._waves(k, wide(k.h)), axis=-1))

  def score(self, s_BNTS, pair, carry):
    k_BSD = pair.k.features
    k_BSD = jnp.broadcast_to(k_BSD, (len(s_BNTS), *k_BSD.shape[1:]))
    return s_BNTS + jnp.einsum('BTND,BSD->BNTS', pair.q.features, k_BSD), carry

  def _waves(self, at, dtype):
    angle = at.pos.astype(dtype) * jnp.asarray(frequencies(self.dims.D), dtype)  # P = 1 becomes D/2
    return jnp.sin(angle), jnp.cos(angle)
