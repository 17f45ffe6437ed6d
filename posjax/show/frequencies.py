"""Measures the frequencies of an encoding: no encoding is handled by its name."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.encodings import Bound, Chain, Encoding, Positions, name_of
from posjax.show.probe import jit

FINEST = 4.0**-6  # positions: the first step along an axis of fractions


def frequencies(encoding: Encoding, weights: Any, length: int) -> np.ndarray:
  """Returns the frequencies of the encoding, radians per position, [C], fastest first.

  They are measured from the channels of keys, features and embeddings that are sinusoids of the
  position. `length` is the capacity given to `init_state`.
  """
  if isinstance(encoding, Chain):  # separately, because a part may move the positions of another
    return np.concatenate([
      frequencies(part, weights.get(name_of(part), {}), length) for part in encoding.parts
    ])
  made = channels(encoding, weights, length)
  return sinusoids(lambda pos_R: made(pos_R[:, None]))


def channels(
  encoding: Encoding, weights: Any, length: int
) -> Callable[[jax.Array], np.ndarray]:
  """Returns a function from positions [R, P] to channels of keys, features and embeddings [R, C].

  `length` is the capacity given to `init_state`.
  """
  dims, rng = encoding.dims, jax.random.key(0)

  @jit
  def run(weights, pos_RP):
    R = len(pos_RP)
    bound, zeros = Bound(encoding, weights), jnp.zeros((1, R), jnp.int32)
    state = encoding.init_state(1, length, False, rng)
    at = Positions(pos_RP[None], zeros, zeros, ids=zeros)
    at, sequence = bound.locate(at, state.sequence, jnp.float64)
    none_BTD = jnp.zeros((1, R, dims.D))
    added = bound.embed(none_BTD, at, sequence)[0]
    own = bound.embed(none_BTD + 1, at, sequence)[0] - added
    features, _ = bound.features(none_BTD + 1, at, state.layer)
    h_BTKH = jnp.ones((1, R, dims.K, dims.H))
    k = bound.key(at.replace(ids=()).attach(h_BTKH, h_BTKH, features))
    block = bound.prepared().key_block(k)
    made = k.h, k.features, block.h, block.features, own, added
    leaves = [x for x in jax.tree.leaves(made) if x.dtype == jnp.float64]
    return jnp.concatenate([x[0].reshape(R, -1) for x in leaves], axis=-1)

  return lambda pos_RP: np.asarray(run(weights, pos_RP))


def angles(encoding: Encoding, weights: Any, length: int) -> np.ndarray:
  """Returns the distinct angles by which planes rotate per position on each axis, theta [P, C].

  A column is a plane, or a sinusoid among embeddings, of angle sum_a p_a theta_ac. Columns are
  sorted by the axis that rotates them fastest, then by speed. The direction of a rotation is not
  visible: the largest angle of a column is positive. `length` is the capacity given to
  `init_state`.
  """
  if isinstance(encoding, Chain):
    return np.concatenate([
      angles(part, weights.get(name_of(part), {}), length) for part in encoding.parts
    ], axis=1)
  made, P, whole = channels(encoding, weights, length), encoding.dims.P, encoding.whole_positions

  def along(*axes):
    step_P = np.isin(np.arange(P), axes).astype(int if whole else float)
    # From 1 on: at 0, a sine of one axis hides its product with another.
    return measured(lambda t_R: made(1 + t_R[:, None] * step_P), 1 if whole else FINEST)

  theta_PC = np.stack([along(axis) for axis in range(P)])
  found_C = ~np.isnan(theta_PC).any(axis=0) & (theta_PC > 0).any(axis=0)
  theta_PC = theta_PC[:, found_C]
  fastest_C, signed_PC = np.argmax(theta_PC, axis=0), theta_PC.copy()
  for pair in combinations(range(P), 2):
    sum_C = theta_PC[[*pair]].sum(axis=0)
    against_C = np.abs(along(*pair)[found_C] - sum_C) > 1e-6 * sum_C
    for axis, other in (pair, pair[::-1]):
      signed_PC[axis, against_C & (fastest_C == other)] *= -1
  order_C = np.lexsort([-theta_PC.max(axis=0), fastest_C])
  return distinct(signed_PC[:, order_C])


def distinct(theta_PC: np.ndarray) -> np.ndarray:
  """Returns the columns without repetitions."""
  kept: list[np.ndarray] = []
  for theta_P in theta_PC.T:
    if not any(np.allclose(theta_P, other, 1e-6, 1e-9) for other in kept):
      kept.append(theta_P)
  return np.stack(kept, axis=1) if kept else theta_PC


def sinusoids(channels: Callable[[jax.Array], np.ndarray]) -> np.ndarray:
  """Returns the distinct frequencies of the sinusoids among `channels`, fastest first."""
  theta = measured(channels)
  theta = -np.sort(-theta[theta > 0])
  return theta[np.diff(theta, prepend=np.inf) < -1e-6 * theta]


def measured(
  channels: Callable[[jax.Array], np.ndarray], first: float = 1, points: int = 8
) -> np.ndarray:
  """Returns the frequency of each channel that is a sinusoid, 0 of a constant, else NaN: [C].

  A sinusoid, and little else, has f(p + h) + f(p - h) = 2 cos(h theta) f(p) for all p. The step h
  grows until h theta is about 1, so that slow sinusoids lose no digits. A channel that violates the
  equation while h theta is still tiny is not a sinusoid.

  Args:
    channels: a function of positions, [R] -> [R, C].
    first: the smallest step, a power of 4; frequencies above 3 / first look like slower ones.
    points: positions in a step.
  """
  theta, last, step = None, first, first
  while step < 4**13:
    before, here, after = (channels(jnp.arange(points) + i * step) for i in range(3))
    with np.errstate(invalid='ignore', divide='ignore'):
      cos = np.sum(here * (before + after), axis=0) / (2 * np.sum(here**2, axis=0))
      off = np.max(np.abs(before + after - 2 * cos * here), axis=0) / np.max(np.abs(here), axis=0)
    found = np.where(off < 1e-8, np.arccos(np.clip(cos, -1, 1)) / step, np.nan)
    theta = found if theta is None else theta
    good = (off < 1e-8) & (theta * step < 2)
    theta, last = np.where(good, found, theta), np.where(good, step, last)
    step *= 4
  slow = np.where(theta < 1e-9, 0, np.nan)  # not told from a constant
  return np.where((theta > 1e-9) & (theta * last > 0.03), theta, slow)
