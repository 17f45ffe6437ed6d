"""Rotations of planes (pairs of channels) by position-dependent angles (arXiv 2104.09864)."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.tokens import Positions

LAYOUTS = ('half', 'interleaved')


def frequencies(width: int, base: float = 10_000.0) -> np.ndarray:
  """Returns theta_i in radians per position: [width / 2], float64."""
  return base ** -(np.arange(0, width, 2) / width)


def cos_sin(
  pos_BT: jax.Array, theta: jax.typing.ArrayLike, dtype: jax.typing.DTypeLike
) -> tuple[jax.Array, jax.Array]:
  """Returns cosines and sines of pos * theta: [B, T, len(theta)] each.

  Rounding changes an angle by half a unit in its last place: 0.004 in float32 at 100,000 radians.
  """
  # A product, not an einsum: accelerators would round its operands to bfloat16.
  angle = pos_BT[..., None].astype(dtype) * jnp.asarray(theta, dtype)
  return jnp.cos(angle), jnp.sin(angle)


def cos_sin_on_axes(
  at: Positions, theta: jax.typing.ArrayLike, dtype: jax.typing.DTypeLike
) -> tuple[jax.Array, jax.Array]:
  """Returns cosines and sines of sum_a pos_a theta_a, [B or 1, T, ...], for theta [P, ...].

  The angle of a token without a place is 0.
  """
  theta = jnp.asarray(theta, dtype)
  pos_BTP = jnp.where(at.placed[..., None], at.pos, 0).astype(dtype)
  # A product, not an einsum, as in `cos_sin`.
  angle = jnp.sum(pos_BTP.reshape(*pos_BTP.shape, *[1] * (theta.ndim - 1)) * theta, axis=2)
  return jnp.cos(angle), jnp.sin(angle)


def planes(x_BTNH: jax.Array, number: int, layout: str = 'half') -> Sequence[jax.Array]:
  """Returns the two channels of each of the first planes, [B, T, N, number] each."""
  x = x_BTNH[..., : 2 * number]
  return jnp.split(x, 2, axis=-1) if layout == 'half' else (x[..., 0::2], x[..., 1::2])


def rotate_by(
  x_BTNH: jax.Array, cos_BTC: jax.Array, sin_BTC: jax.Array, layout: str = 'half'
) -> jax.Array:
  """Rotates the first 2 C channels of each head; the rest are unchanged."""
  cos, sin = cos_BTC[:, :, None], sin_BTC[:, :, None]
  C = cos.shape[-1]
  a, b = planes(x_BTNH.astype(cos.dtype), C, layout)
  x = a * cos - b * sin, b * cos + a * sin
  if layout == 'half':
    x = jnp.concatenate(x, axis=-1)
  else:
    x = jnp.stack(x, axis=-1).reshape(*a.shape[:-1], 2 * C)
  return jnp.concatenate([x.astype(x_BTNH.dtype), x_BTNH[..., 2 * C :]], axis=-1)


def rotate(
  x_BTNH: jax.Array, pos_BT: jax.Array, theta: jax.typing.ArrayLike, layout: str = 'half'
) -> jax.Array:
  """Rotates the first 2 len(theta) channels of each head by pos * theta; the rest are unchanged."""
  return rotate_by(x_BTNH, *cos_sin(pos_BT, theta, at_least_float32(x_BTNH)), layout)


def rotate_heads(
  x_BTNH: jax.Array, cos_BTNC: jax.Array, sin_BTNC: jax.Array, layout: str = 'half'
) -> jax.Array:
  """Rotates like `rotate_by`, with separate cosines and sines for each head."""
  heads = jax.vmap(functools.partial(rotate_by, layout=layout), in_axes=2, out_axes=2)
  return heads(x_BTNH[:, :, :, None], cos_BTNC, sin_BTNC)[:, :, :, 0]
