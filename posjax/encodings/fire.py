"""FIRE: a small network of the distance, which is a share of the query's position.

Li et al. 2024, "Functional Interpolation for Relative Positions", ICLR, arXiv 2310.04418.

  A_ij = q_i . k_j / sqrt(H) + f_n(psi(i - j) / psi(max(L, i)))
  psi(x) = ln(1 + |c x|)      f(x) = W_2 relu(w_1 x + b_1) + b_2

The denominator has 1e-6 more, as released. c and L = |multiplier| length are learned, so that short
sequences need not fill the whole range. Each layer has its own network, or all share one (FIRE-S).
Causal: a later key would have a share above 1.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.encodings.encoding import Encoding, wide


def share(distance, pos, c, least):
  """psi(distance) / psi(max(least, pos)), below 1 where no key is later than its query."""
  psi = lambda x: jnp.log1p(jnp.abs(c * x))
  return psi(distance) / (psi(jnp.maximum(least, pos)) + 1e-6)


def torch_linear(inputs):
  """Uniform within 1/sqrt(inputs), for weights and offsets alike: PyTorch's Linear, as released."""
  bound = inputs**-0.5
  return lambda rng, shape, dtype: jax.random.uniform(rng, shape, dtype, -bound, bound)


class Fire(Encoding):
  length: int = 512
  width: int = 32
  shared: bool = False
  shift_invariant = False
  causal_only = True

  @property
  def inert(self):
    return (self._name('second_bias_LN'),)  # the same for all keys of a query

  def check(self, dims):
    if self.length < 1 or self.width < 1:
      raise ValueError(
        f'length and width must be positive; they are {self.length} and {self.width}'
      )

  def setup(self):
    weight = lambda name, init: self.weight(self._name(name), init, R=self.width)
    self.first_R = weight('first_LR', torch_linear(1))
    self.first_bias_R = weight('first_bias_LR', torch_linear(1))
    self.second_RN = weight('second_LRN', torch_linear(self.width))
    self.second_bias_N = weight('second_bias_LN', torch_linear(self.width))
    self.c = weight('c_L', nn.initializers.constant(0.1))
    self.multiplier = weight('multiplier_L', nn.initializers.ones)

  def score(self, s_BNTS, pair, carry):
    dtype = wide(s_BNTS)
    distance_BTS = pair.distance[:, 0, ..., 0].astype(dtype)
    pos_BT1 = pair.q.pos.astype(dtype)
    least = jnp.abs(self.multiplier.astype(dtype) * self.length)
    x_BTS = share(distance_BTS, pos_BT1, self.c.astype(dtype), least)
    h_BTSR = nn.relu(x_BTS[..., None] * self.first_R + self.first_bias_R)
    bias_BNTS = jnp.einsum('BTSR,RN->BNTS', h_BTSR, self.second_RN.astype(dtype))
    return s_BNTS + bias_BNTS + self.second_bias_N[:, None, None], carry

  def _name(self, name):
    return name.replace('_L', '_').rstrip('_') if self.shared else name


def examples():
  """Small settings, which the tests hold to the contract."""
  return Fire(length=8, width=5), Fire(length=12, shared=True)
