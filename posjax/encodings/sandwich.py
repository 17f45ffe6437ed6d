"""Sandwich: the bias of a logit is the dot product of the sinusoids of its two positions.

Chi et al. 2023, "Dissecting Transformer Length Extrapolation via the Lens of Receptive Field
Analysis", ACL, arXiv 2212.10356.

  A_ij = q_i . k_j / sqrt(H) + (PE(i) . PE(j) - D/2) N / (8 n),   n = 1 .. N
  PE(i) . PE(j) = sum_k cos((i - j) / base^(2k/D)),   k = 0 .. D/2 - 1

D is the width of the sinusoids, not of the model. The constant D/2 makes the bias 0 at distance 0
and does not change the softmax. NeMo counts k from 1 (`first=1`), which gives other frequencies.
There are no weights.
"""

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.parts.distance import DistanceBias
from posjax.encodings.parts.rotation import frequencies


def in_common(distance: jax.Array, width: int, base: float = 10_000.0, first: int = 0) -> jax.Array:
  """Returns PE(i) . PE(j) - D/2 for distances i - j of any shape."""
  theta = frequencies(width, base) * base ** (-2 * first / width)
  angle = distance[..., None] * jnp.asarray(theta, distance.dtype)
  return jnp.sum(jnp.cos(angle) - 1, axis=-1)


class Sandwich(DistanceBias):
  width: int = 128
  base: float = 10_000.0
  first: int = 0
  encoder_order = 'distance'

  def check(self, dims: Dims) -> None:
    if self.width < 2 or self.width % 2:
      raise ValueError(f'width must be even, for pairs of sin and cos; it is {self.width}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if self.first not in (0, 1):
      raise ValueError(f'first, the first k, must be 0 or 1; it is {self.first}')

  def bias(self, distance: jax.Array) -> jax.Array:
    share_N = self.dims.N / (8 * np.arange(1, self.dims.N + 1))
    common = in_common(distance, self.width, self.base, self.first)
    return common[..., None] * jnp.asarray(share_N, distance.dtype)


EXAMPLES = dict(sandwich={}), dict(sandwich=dict(width=12, base=100.0, first=1))
