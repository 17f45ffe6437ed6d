"""Resizing of tables whose rows belong to positions on a line, in a plane or in a volume.

Keys, R., "Cubic convolution interpolation for digital image processing", IEEE ASSP 29, 1981:

  h(t) = (a + 2) |t|^3 - (a + 3) |t|^2 + 1        |t| < 1
         a (|t|^3 - 5 |t|^2 + 8 |t| - 4)          |t| < 2

New row i lies at (i + 1/2) old / new - 1/2. PyTorch has a = -3/4, and repeats the rows at the
border; with antialiasing it has a = -1/2, widens h by old / new if the table shrinks, and divides
by the sum of the weights of rows that exist, like jax.image.resize. MAE and Hugging Face resize
tables without antialiasing, timm with it, big_vision and Qwen3-VL linearly, with corners that stay.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def cubic(t: np.ndarray, a: float) -> np.ndarray:
  t = abs(t)
  near = ((a + 2) * t - (a + 3)) * t**2 + 1
  far = a * (((t - 5) * t + 8) * t - 4)
  return np.where(t < 1, near, np.where(t < 2, far, 0))


KERNELS = {'linear': lambda t, a: np.maximum(1 - abs(t), 0), 'cubic': cubic}


def taps(old: int, new: int, method: str, antialias: bool, corners: bool) -> np.ndarray:
  """Returns the weights of `old` rows in each of `new` rows, [new, old] float64; see `resize`."""
  centers = np.arange(new) + 0.5
  centers = np.linspace(0, old - 1, new) if corners else centers * old / new - 0.5
  wide, a = (max(old / new, 1), -0.5) if antialias else (1, -0.75)
  # Without antialiasing, the two rows beyond either end equal the first and the last.
  rows = np.arange(old) if antialias else np.arange(-2, old + 2)
  near = KERNELS[method]((centers[:, None] - rows) / wide, a) @ np.eye(old)[rows.clip(0, old - 1)]
  return near / near.sum(axis=1, keepdims=True)


def resize(
  table: jax.Array, sizes: Sequence[int], method: str = 'cubic', antialias: bool = True,
  corners: bool = False,
) -> jax.Array:
  """Returns a table [*old, D] resized to [*sizes, D], along one axis after the other.

  Args:
    table: a row for each position; one axis, or several.
    sizes: the new number of positions on each axis, more or fewer.
    method: 'linear' (PyTorch's bilinear, in a plane) or 'cubic' (bicubic).
    antialias: whether to average over all old rows that a new row covers, and at the border over
      those that exist. It has no effect on 'linear' if the table grows.
    corners: whether the first and the last row keep their place (align_corners).
  """
  for axis, new in enumerate(sizes):
    w = jnp.asarray(taps(table.shape[axis], new, method, antialias, corners), table.dtype)
    resized = jnp.tensordot(w, table, (1, axis), precision=jax.lax.Precision.HIGHEST)
    table = jnp.moveaxis(resized, 0, axis)
  return table
