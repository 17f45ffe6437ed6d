"""Biases that depend on the differences of positions on all axes.

A token without a place (`NOWHERE`), such as a class token, has no differences: the bias between it
and any token is 0, unless a table has rows for such tokens.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.declarations import each
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput


class GridBias(Encoding):
  """An encoding that adds a bias per head and difference to each score: override `bias`."""

  axes = math.inf

  def bias(self, distance: jax.Array) -> jax.Array:
    """Returns the bias of scores, [..., N], for differences [..., P], query minus key."""
    raise NotImplementedError

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    distance_BTSP = (q.pos[:, :, None] - k.pos[:, None]).astype(at_least_float32(k.h))
    placed_BTS1 = q.placed[:, :, None, None] & k.placed[:, None, :, None]
    return jnp.moveaxis(jnp.where(placed_BTS1, self.bias(distance_BTSP), 0), -1, 1)


class WindowBias(Encoding):
  """An encoding that adds to each score a row of a table of differences: override `table`.

  The table has a row for each difference of two positions in a window of `window` positions on each
  axis; one number is the size on every axis. The model refuses rows that do not fit (`limit`),
  unless chunks of the window's size or less hide all other differences. These have no row: called
  directly, `position_bias` gives them 0.
  """

  window: tuple[int, ...] = (7,)
  axes = math.inf
  whole_positions = True

  @property
  def limit(self) -> int | tuple[int, ...]:
    return self.window if len(self.window) > 1 else self.window[0]

  @property
  def sizes(self) -> tuple[int, ...]:
    """The positions of the window on each axis."""
    return each(self.limit, self.dims.P)

  def check(self, dims: Dims) -> None:
    check_sizes('window', self.window, dims.P)

  def table(self) -> jax.Array:
    """Returns the rows of `differences`, and perhaps those of tokens without a place, [R, N]."""
    raise NotImplementedError

  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array:
    table_RN = self.table().astype(at_least_float32(k.h))
    row_BTS = row_of_pairs(q, k, self.sizes)
    return jnp.moveaxis(table_RN.at[row_BTS].get(mode='fill', fill_value=0), -1, 1)


def check_sizes(name: str, sizes: tuple[int, ...], axes: int) -> None:
  """Raises ValueError, one line, unless `sizes` has one positive integer, or one for each axis."""
  if len(sizes) not in (1, axes):
    raise ValueError(
      f'{name} needs one number for all axes of positions, or one for each of their {axes}; it is '
      f'{sizes}'
    )
  if not all(isinstance(size, int) and size > 0 for size in sizes):
    raise ValueError(f'{name} must have positive integers; it is {sizes}')


def differences(sizes: tuple[int, ...]) -> np.ndarray:
  """Returns the differences of two positions in a window, [R, P], in the order of the rows.

  They run from 1 - M to M - 1 on each axis of size M, fastest on the last: R is the product of
  2 M - 1.
  """
  grid = np.meshgrid(*(np.arange(1 - size, size) for size in sizes), indexing='ij')
  return np.stack(grid, axis=-1).reshape(-1, len(sizes))


def row_of_pairs(q: AttentionInput, k: AttentionInput, sizes: tuple[int, ...]) -> jax.Array:
  """Returns the row of each pair in a table of `differences`, int32 [B or 1, T, S].

  The three rows after those of differences are of pairs whose query, whose key, or both of which
  have no place, in the order of BEiT. A difference beyond the window gets the row after these.
  """
  most_P = 2 * np.array(sizes) - 2
  steps_P = np.cumprod([1, *(most_P + 1)[:0:-1]])[::-1]
  R = int(np.prod(most_P + 1))
  offset_BTSP = (q.pos[:, :, None] - k.pos[:, None]).astype(jnp.int32) + most_P // 2
  inside_BTS = jnp.all((offset_BTSP >= 0) & (offset_BTSP <= most_P), axis=-1)
  row_BTS = jnp.sum(offset_BTSP * steps_P, axis=-1, dtype=jnp.int32)
  # 1 without a query's place, 2 without a key's, 3 without both.
  unplaced_BTS = ~q.placed[:, :, None] + 2 * ~k.placed[:, None]
  row_BTS = jnp.where(inside_BTS, row_BTS, R + 3)
  return jnp.where(unplaced_BTS > 0, R - 1 + unplaced_BTS, row_BTS)
