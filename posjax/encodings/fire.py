"""FIRE: a small network of the distance, relative to the query's position.

Li et al. 2024, "Functional Interpolation for Relative Positions", ICLR, arXiv 2310.04418.

  A_ij = q_i . k_j / sqrt(H) + f_n(psi(i - j) / psi(max(L, i)))
  psi(x) = ln(1 + |c x|)      f(x) = W_2 relu(w_1 x + b_1) + b_2

As in the released code, 1e-6 is added to the denominator. c and L = |multiplier| length are
learned, so that short sequences need not fill the entire range. Each layer has its own network, or
all layers share one (FIRE-S). It is causal only: the ratio of a later key could exceed 1.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput
from posjax.encodings.parts.distance import pair_distances
from posjax.encodings.parts.initializers import torch_linear


def share(distance: jax.Array, pos: jax.Array, c: jax.Array, least: jax.Array) -> jax.Array:
  """Returns psi(distance) / psi(max(least, pos)), below 1 if no key is later than its query."""
  psi = lambda x: jnp.log1p(jnp.abs(c * x))
  return psi(distance) / (psi(jnp.maximum(least, pos)) + 1e-6)


@jax.custom_vjp
def network(x_P: jax.Array, w_R: jax.Array, b_R: jax.Array, out_RN: jax.Array) -> jax.Array:
  """Returns sum_r out_rn relu(w_r x + b_r), [N, P].

  In a block of pairs, x has a narrow range, so most units are on or off for all x. The units that
  are on sum to one linear function. Only units that cross 0 in the range are evaluated per pair.
  """
  on_R, some, crossing = units(x_P, w_R, b_R)
  slope_N, offset_N = (w_R * on_R) @ out_RN, (b_R * on_R) @ out_RN

  def add(i, y_NP):
    r = crossing[i]
    return y_NP + out_RN[r][:, None] * nn.relu(w_R[r] * x_P + b_R[r])

  return lax.fori_loop(0, some, add, slope_N[:, None] * x_P + offset_N[:, None])


def units(x_P: jax.Array, w_R: jax.Array, b_R: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns which units are on for all x, how many cross 0, and all indices, crossing first."""
  low, high = (w_R * x + b_R for x in (jnp.min(x_P), jnp.max(x_P)))
  crosses_R = (low > 0) != (high > 0)
  return (low > 0) & (high > 0), jnp.sum(crosses_R), jnp.argsort(~crosses_R)


def network_backward(given: tuple[jax.Array, ...], dy_NP: jax.Array) -> tuple[jax.Array, ...]:
  x_P, w_R, b_R, out_RN = given
  on_R, some, crossing = units(x_P, w_R, b_R)
  dx_P = ((w_R * on_R) @ out_RN) @ dy_NP
  by_x_N, sum_N = dy_NP @ x_P, jnp.sum(dy_NP, axis=1)
  by_x_R, sum_R = out_RN @ by_x_N, out_RN @ sum_N
  dout_RN = on_R[:, None] * (jnp.outer(w_R, by_x_N) + jnp.outer(b_R, sum_N))

  def add(i, gradients):
    dx_P, dw_R, db_R, dout_RN = gradients
    r = crossing[i]
    z_P = w_R[r] * x_P + b_R[r]
    dz_P = jnp.where(z_P > 0, out_RN[r] @ dy_NP, 0)
    return (
      dx_P + w_R[r] * dz_P, dw_R.at[r].add(dz_P @ x_P), db_R.at[r].add(jnp.sum(dz_P)),
      dout_RN.at[r].add(dy_NP @ nn.relu(z_P)),
    )

  return lax.fori_loop(0, some, add, (dx_P, on_R * by_x_R, on_R * sum_R, dout_RN))


network.defvjp(lambda *given: (network(*given), given), network_backward)


class Fire(Encoding):
  length: int = 512
  width: int = 32
  shared: bool = False
  shift_invariant = False
  causal_only = True

  @property
  def inert(self) -> tuple[str, ...]:
    return (self._name('second_bias_LN'),)  # the same for all keys of a query

  def check(self, dims: Dims) -> None:
    if self.length < 1 or self.width < 1:
      raise ValueError(
        f'length and width must be positive; they are {self.length} and {self.width}'
      )

  def setup(self) -> None:
    weight = lambda name, init: self.weight(self._name(name), init, R=self.width)
    self.first_R = weight('first_LR', torch_linear(1))
    self.first_bias_R = weight('first_bias_LR', torch_linear(1))
    self.second_RN = weight('second_LRN', torch_linear(self.width))
    self.second_bias_N = weight('second_bias_LN', torch_linear(self.width))
    self.c = weight('c_L', nn.initializers.constant(0.1))
    self.multiplier = weight('multiplier_L', nn.initializers.ones)

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    distance_BTS = pair_distances(q, k)
    dtype = distance_BTS.dtype
    least = jnp.abs(self.multiplier.astype(dtype) * self.length)
    x_BTS = share(distance_BTS, q.pos[..., :1].astype(dtype), self.c.astype(dtype), least)
    first = self.first_R.astype(dtype), self.first_bias_R.astype(dtype)
    bias_NP = network(x_BTS.reshape(-1), *first, self.second_RN.astype(dtype))
    bias_NBTS = (bias_NP + self.second_bias_N[:, None]).reshape(-1, *x_BTS.shape)
    return bias_NBTS.swapaxes(0, 1)

  def _name(self, name):
    return name.replace('_L', '_').rstrip('_') if self.shared else name


EXAMPLES = dict(fire=dict(length=8, width=5)), dict(fire=dict(length=12, shared=True))
