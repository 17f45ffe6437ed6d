"""Learned Fourier features: a network of sines and cosines with learned frequencies.

Li et al. 2021, "Learnable Fourier features for multi-dimensional spatial positional encoding",
NeurIPS, arXiv 2106.02795, algorithm 1, here for the single axis of text.

  r_p = [cos(p w), sin(p w)] / sqrt(|F|)        w: |F|/2 frequencies, N(0, gamma^-2) at the start
  PE_p = gelu(r_p W_1 + b_1) W_2 + b_2          added to the token embeddings

At the start r_p . r_s is about exp(-(p - s)^2 / (2 gamma^2)) / 2: gamma is the distance, in tokens,
beyond which positions are no longer similar. Public ports use gamma^-2 as the standard deviation,
not as the variance as here: set gamma here to the square of their gamma.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions
from posjax.encodings.parts.rotation import cos_sin


class Fourier(Encoding):
  size: int = 128
  hidden: int = 64
  gamma: float = 10.0
  shift_invariant = False

  def check(self, dims: Dims) -> None:
    if self.size < 2 or self.size % 2:
      raise ValueError(f'size, cosines plus sines, must be even and positive; it is {self.size}')
    if self.hidden < 1:
      raise ValueError(f'hidden, the width of the network, must be positive; it is {self.hidden}')
    if self.gamma <= 0:
      raise ValueError(f'gamma, a distance, must be positive; it is {self.gamma}')

  def setup(self) -> None:
    dense, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
    init = nn.initializers.normal(1 / self.gamma)
    self.frequency_R = self.weight('frequency_R', init, R=self.size // 2)
    self.first_RC = self.weight('first_RC', dense, R=self.size, C=self.hidden)
    self.first_bias_C = self.weight('first_bias_C', zeros, C=self.hidden)
    self.second_CD = self.weight('second_CD', dense, C=self.hidden)
    self.second_bias_D = self.weight('second_bias_D', zeros)

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    dtype = at_least_float32(x_BTD)
    r_BTR = jnp.concatenate(cos_sin(at.pos[..., 0], self.frequency_R, dtype), axis=-1)
    h_BTC = r_BTR * self.size**-0.5 @ self.first_RC.astype(dtype) + self.first_bias_C
    pe_BTD = jax.nn.gelu(h_BTC, approximate=False) @ self.second_CD.astype(dtype)
    return (x_BTD.astype(dtype) + pe_BTD + self.second_bias_D).astype(x_BTD.dtype), state


EXAMPLES = (dict(fourier=dict(size=10, hidden=7)),)
