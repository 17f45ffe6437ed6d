"""Rotations of blocks of channels by exponentials of skew-symmetric matrices."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions

SQUARINGS = 20  # enough for norms up to 2^18


class Matrices(Encoding):
  """Queries and keys in blocks of `block` channels, each multiplied by exp(A), A^T = -A.

  Subclasses define `exponents`. Positions are counted in `unit`s of the data's: with the trained
  length as the unit, positions of whole numbers are between 0 and 1.
  """

  block: int = 8
  unit: float = 1.0
  axes = math.inf
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    if self.block < 2 or dims.H % self.block:
      raise ValueError(
        f'block must be at least 2 and divide the head size, {dims.H}; it is {self.block}'
      )
    if self.unit <= 0:
      raise ValueError(f'unit must be positive; it is {self.unit}')

  @property
  def entries(self) -> dict[str, int]:
    """The number of blocks, and that of entries of a matrix above its diagonal."""
    return dict(C=self.dims.H // self.block, R=self.block * (self.block - 1) // 2)

  def exponents(self, pos_BTP: jax.Array) -> jax.Array:
    """Returns the entries of A above its diagonals, [B, T, K, C, R], for positions in units."""
    raise NotImplementedError

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    dtype = at_least_float32(x_BTD)
    # exp(0) for a token without a place.
    pos_BTP = jnp.where(at.placed[..., None], at.pos, 0).astype(dtype) / self.unit
    return exponential(skew(self.exponents(pos_BTP), self.block)), state

  def query(self, q: AttentionInput) -> AttentionInput:
    return q.replace(h=multiply(q.features, q.h), features=())

  def key(self, k: AttentionInput) -> AttentionInput:
    return k.replace(h=multiply(k.features, k.h), features=())


def skew(upper: jax.Array, size: int) -> jax.Array:
  """Returns U - U^T, [..., size, size], for the entries of U above its diagonal, row by row."""
  rows, columns = np.triu_indices(size, 1)
  U = jnp.zeros((*upper.shape[:-1], size, size), upper.dtype).at[..., rows, columns].set(upper)
  return U - U.swapaxes(-1, -2)


@jax.checkpoint  # otherwise autodiff stores every square
def exponential(A: jax.Array) -> jax.Array:
  """Returns exp(A) for skew-symmetric matrices [..., b, b], from products alone.

  exp(A) - 1 = E_s, where E_0 = exp(A / 2^s) - 1 is a Taylor series and E_(j+1) = 2 E_j + E_j^2.
  Each matrix has the smallest s for which the norm of A / 2^s is at most 1/4: an error grows with
  the norm of A, as the error of an angle does.
  """
  product = lambda x, y: jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)
  norm = jax.lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(A), axis=-1), axis=-1))[..., None, None]
  squarings = jnp.clip(jnp.ceil(jnp.log2(4 * norm)), 0, SQUARINGS)
  one, A = jnp.eye(A.shape[-1], dtype=A.dtype), A * jnp.exp2(-squarings)
  E = A / 12
  for k in range(11, 0, -1):  # Horner's scheme
    E = product(A, one + E) / k

  def square(j, E):
    squared = lambda E: jnp.where(j < squarings, 2 * E + product(E, E), E)
    return jax.lax.cond(j < jnp.max(squarings), squared, lambda E: E, E)

  return one + jax.lax.fori_loop(0, SQUARINGS, square, E)


def multiply(R_BTKCbb: jax.Array, x_BTNH: jax.Array) -> jax.Array:
  """Returns R x for each block of channels; query heads that share a key head share its R."""
  K, C, b = R_BTKCbb.shape[2:5]
  x = x_BTNH.reshape(*x_BTNH.shape[:2], K, -1, C, b).astype(R_BTKCbb.dtype)
  y = jnp.einsum('BTKCij,BTKGCj->BTKGCi', R_BTKCbb, x, precision=jax.lax.Precision.HIGHEST)
  return y.reshape(x_BTNH.shape).astype(x_BTNH.dtype)
