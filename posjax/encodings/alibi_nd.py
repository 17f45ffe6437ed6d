"""ALiBi on several axes: a penalty on each logit, linear in the distance between two places.

Fuller et al. 2023, "CROMA", NeurIPS, arXiv 2311.00566 (2D-ALiBi); the slopes are those of ALiBi
(Press et al. 2021, arXiv 2108.12409).

  A_ij = q_i . k_j / sqrt(H) - m_n |p_i - p_j|        m_n = 2^(-8n/N),  n = 1 .. N

|d| is the Euclidean distance (`norm=2`, the paper's) or, with `norm=1`, the city-block distance,
the sum over the axes. With one axis, both are ALiBi. `bias_max` is the 8. Between a token without a
place, such as a class token, and any token the bias is 0.
"""

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.alibi import slopes
from posjax.encodings.parts.grid_bias import GridBias


def length(distance: jax.Array, norm: int) -> jax.Array:
  """Returns the Euclidean (2) or city-block (1) length of differences [..., P]."""
  if norm == 1:
    return jnp.sum(jnp.abs(distance), axis=-1)
  squared = jnp.sum(jnp.square(distance), axis=-1)
  # The root has no gradient at 0, and positions may be fractions, which have gradients.
  return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)


class AlibiNd(GridBias):
  norm: int = 2
  bias_max: float = 8.0
  encoder_order = 'distance'

  def check(self, dims: Dims) -> None:
    if self.norm not in (1, 2):
      raise ValueError(f'norm is {self.norm}; valid: 1 (city-block), 2 (Euclidean)')
    if self.bias_max <= 0:
      raise ValueError(f'bias_max must be positive, so that slopes fall; it is {self.bias_max}')

  def bias(self, distance: jax.Array) -> jax.Array:
    slope_N = jnp.asarray(slopes(self.dims.N, self.bias_max), distance.dtype)
    return -slope_N * length(distance, self.norm)[..., None]


EXAMPLES = dict(alibi_nd={}), dict(alibi_nd=dict(norm=1, bias_max=4.0))
