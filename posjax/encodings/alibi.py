"""ALiBi: a penalty on each logit, linear in the distance, with a fixed slope for each head.

Press et al. 2021, "Train short, test long", ICLR 2022, arXiv 2108.12409, section 3.

  A_ij = q_i . k_j / sqrt(H) - m_n |i - j|        m_n = 2^(-8n/N),  n = 1 .. N

The paper's causal form has i - j, which is the same where j <= i; the absolute value is the
symmetric form that encoders use. The bias is not multiplied by 1/sqrt(H). `bias_max` is the 8
(MPT's alibi_bias_max): a larger one gives gentler slopes, for longer contexts.
"""

import jax.numpy as jnp
import numpy as np

from posjax.encodings.distance import DistanceBias


def slopes(heads, bias_max=8.0):
  """m_n of each head, [heads], float64.

  If `heads` is no power of two: the slopes of the next lower power c, then every other one of those
  of 2c, as the authors' code has it.
  """
  c = 2 ** int(np.log2(heads))
  regular = 2.0 ** (-bias_max * np.arange(1, c + 1) / c)
  between = 2.0 ** (-bias_max * np.arange(1, 2 * c + 1, 2) / (2 * c))
  return np.concatenate([regular, between])[:heads]


class Alibi(DistanceBias):
  bias_max: float = 8.0
  linear_beyond = 0

  def check(self, dims):
    if self.bias_max <= 0:
      raise ValueError(f'bias_max must be positive, so that slopes fall; it is {self.bias_max}')

  def of(self, distance):
    slope_N = jnp.asarray(slopes(self.dims.N, self.bias_max), distance.dtype)
    return -slope_N * jnp.abs(distance)[..., None]


def examples():
  """Small settings, which the tests hold to the contract."""
  return Alibi(), Alibi(bias_max=4.0)
