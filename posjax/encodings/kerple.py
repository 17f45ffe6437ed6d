"""KERPLE: a bias per head that decreases with the distance, by a learned kernel.

Chi et al. 2022, NeurIPS, arXiv 2205.09921, equations 2 and 3 and the variants of table 5. The bias
is added to the scaled logits, as in the released code.

  A_ij = q_i . k_j / sqrt(H) + b_n(i - j)
  'log':       b = -r1 ln(1 + r2 |i - j|)        r1, r2 > 0
  'power':     b = -r1 |i - j|^r2                r1 > 0, 0 < r2 < 2
  'log3':      b = -r1 ln(1 + r2 |i - j|^r3)     r1, r2 > 0, 0 < r3 < 2
  'weighted':  as 'power', and q_i . k_j is multiplied by exp(-r3 |i - j|^r4), r3 > 0, 0 < r4 < 2

The released code clips the parameters after each step. Here each parameter is the softplus of a
weight (2 sigmoid for an exponent), so no parameter gets stuck at a bound. All layers share the
parameters of a head.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.tokens import Pair
from posjax.encodings.parts.distance import DistanceBias


def log_kernel(distance: jax.Array, r1: jax.Array, r2: jax.Array) -> jax.Array:
  return -r1 * jnp.log1p(r2 * distance)


def power(distance: jax.Array, exponent: jax.Array) -> jax.Array:
  # At distance r = 0 the power is 0, but its derivative with respect to p, r^p ln r, is NaN.
  apart = jnp.where(distance > 0, distance, 1)
  return jnp.where(distance > 0, apart**exponent, 0)


class Kernel(NamedTuple):
  """A kernel: one of the equations above.

  Attributes:
    ends: for each parameter r1, r2, …, the upper end of its initial draw; None: an exponent.
    bias: computes b from distances |i - j| and the parameters.
    factor: computes the factor of q . k from the same arguments; None: no factor.
  """

  ends: tuple[float | None, ...]
  bias: Callable
  factor: Callable | None = None


KERNELS = {
  'log': Kernel((2.0, 1.0), log_kernel),
  'power': Kernel((1.0, None), lambda d, r1, r2: -r1 * power(d, r2)),
  'log3': Kernel((2.0, 1.0, None), lambda d, r1, r2, r3: log_kernel(power(d, r3), r1, r2)),
  'weighted': Kernel(
    (1.0, None, 1.0, None), lambda d, r1, r2, *_: -r1 * power(d, r2),
    lambda d, r1, r2, r3, r4: jnp.exp(-r3 * power(d, r4)),
  ),
}


def uniform(inverse: Callable[[jax.Array], jax.Array], high: float) -> Callable[..., jax.Array]:
  """Returns an initializer: `inverse` of a uniform draw from (0.01, high)."""

  def init(rng, shape, dtype):
    # The released code also clips its draws at 0.01.
    return inverse(jax.random.uniform(rng, shape, dtype, minval=0.01, maxval=high))

  return init


def softplus_inverse(r: jax.Array) -> jax.Array:
  return r + jnp.log(-jnp.expm1(-r))


class Kerple(DistanceBias):
  kernel: str = 'log'
  encoder_order = 'distance'

  def check(self, dims: Dims) -> None:
    if self.kernel not in KERNELS:
      raise ValueError(f'kernel is {self.kernel!r}; valid: {", ".join(KERNELS)}')

  def setup(self) -> None:
    exponent = uniform(lambda r: jnp.log(r / (2 - r)), 1.99)
    self.raw = [
      self.weight(f'r{i}_N', uniform(softplus_inverse, high) if high else exponent)
      for i, high in enumerate(KERNELS[self.kernel].ends, 1)
    ]

  def bias(self, distance: jax.Array) -> jax.Array:
    parameters = self._parameters(distance.dtype)
    return KERNELS[self.kernel].bias(jnp.abs(distance)[..., None], *parameters)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    if factor := KERNELS[self.kernel].factor:
      parameters = (r_N[:, None, None] for r_N in self._parameters(s_BNTS.dtype))
      apart_B1TS = jnp.abs(pair.distance[..., 0]).astype(s_BNTS.dtype)
      s_BNTS = s_BNTS * factor(apart_B1TS, *parameters)
    return super().score(s_BNTS, pair, carry)

  def _parameters(self, dtype):
    """Returns r1, r2, …, [N] each, mapped into their bounds."""
    bounded = zip(self.raw, KERNELS[self.kernel].ends, strict=True)
    return [
      jax.nn.softplus(raw_N.astype(dtype)) if high else 2 * jax.nn.sigmoid(raw_N.astype(dtype))
      for raw_N, high in bounded
    ]


EXAMPLES = dict(kerple={}), dict(kerple=dict(kernel='power'))
