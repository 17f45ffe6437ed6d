"""FLOATER: adds the path of a learned dynamical system to queries, keys and values.

Liu et al. 2020, "Learning to encode position for Transformer with continuous dynamical model",
ICML, arXiv 2003.09229.

  dp/dt = f(t, p) = W_2 [relu(W_1 [p, t] + b_1), t] + b_2
  q_i = W_q x_i + p_q(i dt)    k_i = W_k x_i + p_k(i dt)    v_i = W_v x_i + p_v(i dt)

All paths share f; the paths of q, k and v have their own p(0) in each layer. Each layer integrates
them again in each call, by the classic Runge-Kutta method with `substeps` steps per position. The
released code integrates in one of 400 updates; in the others it adds the cached paths, without
their gradient. It also keeps the sinusoids at the input ('sinusoidal+floater' here) and starts from
a trained Transformer. If key heads are fewer than query heads, they use a path's first channels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions


def layer(x: jax.Array, t: jax.Array, w_RH: jax.Array, b_H: jax.Array) -> jax.Array:
  """Returns [x, t] W + b."""
  return x @ w_RH[:-1] + t * w_RH[-1] + b_H


def integrate(f: Callable[..., jax.Array], start: jax.Array, steps: int, h: float) -> jax.Array:
  """Returns p(0), p(h), …, `steps` values in all, of dp/dt = f(p, t) with p(0) = `start`."""

  @jax.checkpoint
  def step(p, t):
    a = f(p, t)
    b = f(p + h / 2 * a, t + h / 2)
    c = f(p + h / 2 * b, t + h / 2)
    d = f(p + h * c, t + h)
    return p + h / 6 * (a + 2 * b + 2 * c + d), p

  return jax.lax.scan(step, start, jnp.asarray(h * np.arange(steps), start.dtype))[1]


def add(h_BTNH: jax.Array, path_BTR: jax.Array) -> jax.Array:
  """Adds to each head its channels of the path."""
  path_BTNH = path_BTR.reshape(*path_BTR.shape[:2], -1, h_BTNH.shape[-1])
  h = h_BTNH.astype(path_BTR.dtype) + path_BTNH[:, :, : h_BTNH.shape[2]]
  return h.astype(h_BTNH.dtype)


class Floater(Encoding):
  """Paths reach `length` - 1; callers must not ask for later positions (see `limit`)."""

  length: int = 256
  dt: float = 0.01
  substeps: int = 5
  shift_invariant = False
  whole_positions = True

  @property
  def limit(self) -> int:
    return self.length

  def check(self, dims: Dims) -> None:
    if self.length < 1 or self.substeps < 1:
      raise ValueError(
        f'length and substeps must be positive; they are {self.length} and {self.substeps}'
      )
    if self.dt <= 0:
      raise ValueError(f'dt, the time between positions, must be positive; it is {self.dt}')

  def setup(self) -> None:
    width = self.dims.N * self.dims.H
    # As released: Xavier for matrices [d, d + 1], and for the starts as one array [3, L, d].
    normal = nn.initializers.normal((2 / (2 * width + 1)) ** 0.5)
    bound = (6 / ((3 + max(self.dims.L, 1)) * width)) ** 0.5
    uniform = lambda rng, shape, dtype: jax.random.uniform(rng, shape, dtype, -bound, bound)
    weight = lambda name, init: self.weight(name, init, R=width + 1, H=width, P=3)
    self.first = weight('first_RH', normal), weight('first_bias_H', nn.initializers.zeros)
    self.second = weight('second_RH', normal), weight('second_bias_H', nn.initializers.zeros)
    self.start_LPH = weight('start_LPH', uniform)

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    """Returns the paths to add to q, k and v: three arrays, [B or 1, T, N H] each."""
    cast = lambda w: w.astype(at_least_float32(x_BTD))
    first, second, start_PH = jax.tree.map(cast, (self.first, self.second, self.start_LPH))
    f = lambda p, t: layer(nn.relu(layer(p, t, *first)), t, *second)
    steps, h = self.length * self.substeps, self.dt / self.substeps
    path_RPH = integrate(f, start_PH, steps, h)[:: self.substeps]
    return tuple(path_RPH[at.pos[..., 0], i] for i in range(3)), state

  def query(self, q: AttentionInput) -> AttentionInput:
    p_q, _, p_v = q.features
    v = None if q.v is None else add(q.v, p_v)
    return q.replace(h=add(q.h, self.dims.scale * p_q), v=v, features=())

  def key(self, k: AttentionInput) -> AttentionInput:
    _, p_k, p_v = k.features
    return k.replace(h=add(k.h, p_k), v=add(k.v, p_v), features=())


EXAMPLES = (dict(floater=dict(length=64, dt=0.001, substeps=2)),)
