"""PoPE: the content of a token sets magnitudes, its position sets phases.

Gopalakrishnan et al. 2025, arXiv 2509.10534.

  A_nm = sum_c mu(q_c) mu(k_c) cos((m - n) theta_c + delta_c) / sqrt(H)        mu = softplus
  theta_c = base^(-c/H),  c = 0 .. H - 1;   delta_c learned, clipped to [-2 pi, 0]

In RoPE, the phase of a channel pair is the phase of its content plus the phase of its position.
Here each channel is a magnitude, and its phase comes from the position. So there are twice as many
frequencies, and queries and keys become twice as wide, mu cos next to mu sin: the key cache
doubles, the value cache does not. Apply a norm of queries and keys before mu. Each key head has its
own delta.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.parts.rotation import cos_sin, frequencies


class Pope(Encoding):
  base: float = 10_000.0
  uniform_delta: bool = False
  head_width_factor = 2
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')

  def setup(self) -> None:
    init = from_below if self.uniform_delta else nn.initializers.zeros
    self.delta_LKH = self.weight('delta_LKH', init)

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    return cos_sin(at.pos[..., 0], frequencies(2 * self.dims.H, self.base), dtype)

  def query(self, q: AttentionInput) -> AttentionInput:
    cos_BTH, sin_BTH = q.position_features or self.position_features(q, at_least_float32(q.h))
    # q.h already carries the scale, which must stay outside the softplus.
    scale = self.dims.scale
    mu_BTNH = scale * jax.nn.softplus(q.h.astype(cos_BTH.dtype) / scale)
    h = polar(mu_BTNH, cos_BTH[:, :, None], sin_BTH[:, :, None])
    return q.replace(h=h.astype(q.h.dtype), position_features=())

  def key(self, k: AttentionInput) -> AttentionInput:
    made = k.position_features or self.position_features(k, at_least_float32(k.h))
    cos_BT1H, sin_BT1H = (x[:, :, None] for x in made)
    delta_KH = jnp.clip(self.delta_LKH.astype(cos_BT1H.dtype), -2 * math.pi, 0)
    cos_KH, sin_KH = jnp.cos(delta_KH), jnp.sin(delta_KH)
    h = polar(
      jax.nn.softplus(k.h.astype(cos_BT1H.dtype)),
      cos_BT1H * cos_KH - sin_BT1H * sin_KH,
      sin_BT1H * cos_KH + cos_BT1H * sin_KH,
    )
    return k.replace(h=h.astype(k.h.dtype), position_features=())


def polar(mu_BTNH: jax.Array, cos_BTNH: jax.Array, sin_BTNH: jax.Array) -> jax.Array:
  """Returns complex numbers of magnitude mu, real parts next to imaginary parts: [B, T, N, 2 H]."""
  return jnp.concatenate([mu_BTNH * cos_BTNH, mu_BTNH * sin_BTNH], axis=-1)


def from_below(rng: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> jax.Array:
  """Draws uniformly from [-2 pi, 0]."""
  return jax.random.uniform(rng, shape, dtype, -2 * math.pi, 0)


EXAMPLES = dict(pope={}), dict(pope=dict(base=100.0, uniform_delta=True))
