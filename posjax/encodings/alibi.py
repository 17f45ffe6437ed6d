"""ALiBi: a penalty on each logit, linear in the distance, with a fixed slope for each head.

Press et al. 2021, "Train short, test long", ICLR 2022, arXiv 2108.12409, section 3.

  A_ij = q_i . k_j / sqrt(H) - m_n |i - j|        m_n = 2^(-8n/N),  n = 1 .. N

The paper's causal form is i - j, which is equal where j <= i; encoders use the symmetric form
|i - j|. The bias is not multiplied by 1/sqrt(H). `bias_max` is the 8 (MPT's alibi_bias_max): a
larger value gives gentler slopes, for longer contexts. `factor` multiplies all slopes: 1/sqrt(H)
is Falcon's form, which scales the bias like q . k.

`learned` slopes, as in x-transformers, are exponentials of weights that all layers share; they
start at the fixed slopes. 'alike' shares a row of weights between both sides; 'apart' has a second
row for later keys.
"""

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.parts.distance import DistanceBias

LEARNED = {'no': 0, 'alike': 1, 'apart': 2}  # rows of weights


def slopes(heads: int, bias_max: float = 8.0) -> np.ndarray:
  """Returns the slope m_n of each head, [heads], float64.

  If `heads` is not a power of two: the slopes of the next lower power c, then every other slope
  of 2c, as in the authors' code.
  """
  c = 2 ** int(np.log2(heads))
  regular = 2.0 ** (-bias_max * np.arange(1, c + 1) / c)
  between = 2.0 ** (-bias_max * np.arange(1, 2 * c + 1, 2) / (2 * c))
  return np.concatenate([regular, between])[:heads]


class Alibi(DistanceBias):
  bias_max: float = 8.0
  factor: float = 1.0
  learned: str = 'no'
  linear_beyond = 0
  encoder_order = property(
    lambda self: 'order and side' if self.learned == 'apart' else 'distance'
  )

  def check(self, dims: Dims) -> None:
    if self.bias_max <= 0:
      raise ValueError(f'bias_max must be positive, so that slopes fall; it is {self.bias_max}')
    if self.factor <= 0:
      raise ValueError(f'factor must be positive, so that far keys weigh less; it is {self.factor}')
    if self.learned not in LEARNED:
      raise ValueError(f'learned is {self.learned!r}; valid: {", ".join(LEARNED)}')

  def setup(self) -> None:
    if rows := LEARNED[self.learned]:
      log_N = np.log(self.factor * slopes(self.dims.N, self.bias_max))
      start = lambda rng, shape, dtype: jnp.full(shape, log_N, dtype)
      self.log_slope_RN = self.weight('log_slope_RN', start, R=rows)

  def bias(self, distance: jax.Array) -> jax.Array:
    if self.learned == 'no':
      slope_N = jnp.asarray(self.factor * slopes(self.dims.N, self.bias_max), distance.dtype)
    else:
      slope_RN = jnp.exp(self.log_slope_RN.astype(distance.dtype))
      slope_N = jnp.where(distance[..., None] < 0, slope_RN[-1], slope_RN[0])
    return -slope_N * jnp.abs(distance)[..., None]


EXAMPLES = dict(alibi={}), dict(alibi=dict(bias_max=4.0, learned='apart'))
