"""FoPE: rotates a plane by a Fourier series of the position instead of one frequency.

Hua et al. 2024, ICML 2025, arXiv 2412.17739, as in the authors' code.

  x' = x cos_c(p) - y sin_c(p),   y' = y cos_c(p) + x sin_c(p)        (x, y): channels c, c + H/2
  cos_c(p) = sum_r A_rc cos(p theta_r)    sin_c(p) = sum_r B_rc sin(p theta_r)    c < C
  theta_r = base^(-2r/H), if one turn fits within the trained length: theta_r >= 2 pi / L
  A, B = identity, in strides of ceil(R/C) rows, + N(0, sigma^2 2 / (C (R + K)))

R frequencies remain, and C = min(R, H/4): at most half of the planes have a series. In the code,
the other planes have cos = sin = 1: a fixed rotation by 45 degrees that makes vectors sqrt(2) times
as long, so that these planes count twice in q . k. The paper's text leaves them unchanged. Each key
head has its own A and B, which are not trained; they are drawn from `seed`, once for all layers.
Logits depend on the distance alone only as far as A and B are the identity.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, per_head
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.parts.rotation import cos_sin, frequencies, rotate_heads

RESTS = {'ones': (1, 1), 'identity': (1, 0)}  # cosine and sine of planes without a series


class Fope(Encoding):
  base: float = 10_000.0
  length: int = 512
  sigma: float = 0.3
  rest: str = 'ones'
  seed: int = 0
  shift_invariant = False
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    if dims.H % 4:
      raise ValueError(f'the head size must be a multiple of 4; it is {dims.H}')
    if self.rest not in RESTS:
      raise ValueError(f'rest is {self.rest!r}; valid: {", ".join(RESTS)}')
    if self.base <= 0 or self.sigma < 0 or self.seed < 0:
      raise ValueError(
        'base must be positive, sigma and seed at least 0; they are '
        f'{self.base}, {self.sigma} and {self.seed}'
      )
    if self.length < 7:
      raise ValueError(f'length must be at least 7, for one full turn; it is {self.length}')

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    theta = kept(frequencies(self.dims.H, self.base), self.length)
    planes = min(len(theta), self.dims.H // 4)
    both = coefficients(self.dims.K, len(theta), planes, self.sigma, self.seed)
    return series(at.pos[..., 0], theta, both, self.dims.H // 2, self.rest, dtype)

  def query(self, q: AttentionInput) -> AttentionInput:
    return self._rotate(q)

  def key(self, k: AttentionInput) -> AttentionInput:
    return self._rotate(k)

  def _rotate(self, tokens):
    made = tokens.position_features or self.position_features(tokens, at_least_float32(tokens.h))
    cos, sin = (per_head(x, tokens.h.shape[2]) for x in made)
    return tokens.replace(h=rotate_heads(tokens.h, cos, sin), position_features=())


def kept(theta: np.ndarray, length: int) -> np.ndarray:
  """Returns the frequencies that complete at least one turn within `length`."""
  return theta[theta >= 2 * math.pi / length]


def coefficients(heads: int, frequencies: int, planes: int, sigma: float, seed: int) -> np.ndarray:
  """Returns A and B, [heads, frequencies, planes] each, float64."""
  # Xavier's standard deviation for a three-dimensional array, with fans as in PyTorch.
  deviation = sigma * math.sqrt(2 / (planes * (frequencies + heads)))
  stride = -(-frequencies // planes)
  identity = np.arange(frequencies)[:, None] == stride * np.arange(planes)
  noise = np.random.default_rng(seed).normal(size=(2, heads, frequencies, planes))
  return identity + deviation * noise


def series(
  pos_BT: jax.Array, theta: np.ndarray, both: np.ndarray, planes: int, rest: str,
  dtype: jax.typing.DTypeLike,
) -> tuple[jax.Array, ...]:
  """Returns cos_c(p) and sin_c(p) of each key head, for all planes: [B, T, K, planes] each."""
  made = []
  for wave, a, fill in zip(cos_sin(pos_BT, theta, dtype), both, RESTS[rest], strict=True):
    a_KRC = jnp.asarray(a, dtype)
    # In full precision: accelerators would round both operands to bfloat16.
    x_BTKC = jnp.einsum('BTR,KRC->BTKC', wave, a_KRC, precision=jax.lax.Precision.HIGHEST)
    padding = [(0, 0)] * 3 + [(0, planes - a.shape[-1])]
    made.append(jnp.pad(x_BTKC, padding, constant_values=fill))
  return tuple(made)


EXAMPLES = (
  dict(fope=dict(base=100.0, length=64, sigma=1.0)),
  dict(fope=dict(length=64, rest='identity', seed=1)),
)
