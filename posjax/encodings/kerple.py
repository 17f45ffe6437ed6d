"""KERPLE: a bias that falls with a learned kernel of the distance, per head.

Chi et al. 2022, NeurIPS, arXiv 2205.09921, equations 2 and 3; the bias is added after the scale, as
in the released code.

  A_ij = q_i . k_j / sqrt(H) + b_n(i - j)
  logarithmic:  b = -r1 ln(1 + r2 |i - j|)     r1, r2 > 0
  power:        b = -r1 |i - j|^r2             r1 > 0, 0 < r2 < 2

The released code clips r1 and r2 after each step; here they are softplus (of the exponent: 2
sigmoid) of the weights, so that none is ever stuck at a bound. The two scalars of a head are shared
by all layers.
"""

import jax
import jax.numpy as jnp

from posjax.encodings.distance import DistanceBias

KERNELS = ('log', 'power')


def log_kernel(distance, r1, r2):
  return -r1 * jnp.log1p(r2 * distance)


def power_kernel(distance, r1, r2):
  # At distance 0 the power is 0, but its derivative, r^p ln r, is no number.
  apart = jnp.where(distance > 0, distance, 1)
  return -r1 * jnp.where(distance > 0, apart**r2, 0)


def uniform(inverse, high):
  """An initialiser whose weights `inverse` maps from a uniform draw of (0, high)."""

  def init(rng, shape, dtype):
    # The released code clips its draws at 0.01 too.
    return inverse(jax.random.uniform(rng, shape, dtype, minval=0.01, maxval=high))

  return init


def softplus_inverse(r):
  return r + jnp.log(-jnp.expm1(-r))


class Kerple(DistanceBias):
  kernel: str = 'log'

  def check(self, dims):
    if self.kernel not in KERNELS:
      raise ValueError(f'kernel is {self.kernel!r}; valid: {", ".join(KERNELS)}')

  def setup(self):
    log = self.kernel == 'log'
    exponent = uniform(lambda r: jnp.log(r / (2 - r)), 1.99)
    self.r1_N = self.weight('r1_N', uniform(softplus_inverse, 2.0 if log else 1.0))
    self.r2_N = self.weight('r2_N', uniform(softplus_inverse, 1.0) if log else exponent)

  def of(self, distance):
    apart = jnp.abs(distance)[..., None]
    r1_N, r2_N = (r_N.astype(distance.dtype) for r_N in (self.r1_N, self.r2_N))
    r1_N = jax.nn.softplus(r1_N)
    if self.kernel == 'log':
      return log_kernel(apart, r1_N, jax.nn.softplus(r2_N))
    return power_kernel(apart, r1_N, 2 * jax.nn.sigmoid(r2_N))


def examples():
  """Small settings, which the tests hold to the contract."""
  return Kerple(), Kerple(kernel='power')
