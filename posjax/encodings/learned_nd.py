"""Learned positions on a grid: one trained row for each place, or one for each index of an axis.

ViT (Dosovitskiy et al. 2021, arXiv 2010.11929); factorized: NaViT (Dehghani et al. 2023,
arXiv 2307.06304).

  x_t + W[p_1, .., p_P]                   W: [*grid, D]
  x_t + W_1[p_1] + .. + W_P[p_P]          factorized, W_a: [grid_a, D]

A token without a place, such as a class token, gets nothing. In ViT and DeiT each of these tokens
has a row of its own, which only adds to the learned token: load the sum as the token, as big_vision
does. ViT of big_vision initializes with N(0, 1/D), which is `stddev` = D^-0.5, timm with 0.02.
For another grid, `posjax.encodings.parts.resize` resizes a table.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions


class LearnedNd(Encoding):
  """Learned positions 0 .. size - 1 on each axis; callers must not pass later ones (see `limit`).

  The table is stored row by row, table_RD; the factorized ones are axis_0_RD, axis_1_RD, ….
  """

  grid: tuple = (8, 8)
  factorized: bool = False
  stddev: float = 0.02
  axes = math.inf
  shift_invariant = False
  whole_positions = True

  @property
  def limit(self) -> int | tuple[int, ...]:
    return self.grid if len(self.grid) > 1 else self.grid[0]

  @property
  def rows(self) -> dict[str, int]:
    """The tables and their numbers of rows."""
    if self.factorized:
      return {f'axis_{axis}_RD': size for axis, size in enumerate(self.grid)}
    return {'table_RD': math.prod(self.grid)}

  @property
  def longer_tables(self) -> tuple[str, ...]:
    """The tables of a single axis: rows of a larger plane are not those of a smaller one."""
    return tuple(self.rows) if len(self.rows) == len(self.grid) else ()

  def check(self, dims: Dims) -> None:
    if not all(type(size) is int and size > 0 for size in self.grid):
      raise ValueError(f'grid, the sizes of the axes, must be positive integers; it is {self.grid}')
    if len(self.grid) != dims.P:
      raise ValueError(
        f'grid needs one size for each axis of positions, which have {dims.P}; it is {self.grid}'
      )

  def setup(self) -> None:
    init = nn.initializers.normal(self.stddev)
    self.tables = [self.weight(name, init, R=rows) for name, rows in self.rows.items()]

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    index = tuple(jnp.moveaxis(at.pos, -1, 0))
    if not self.factorized:
      # Clipped: a token without a place reads some row, which is dropped below.
      index = (jnp.ravel_multi_index(index, self.grid, mode='clip'),)
    pe_BTD = sum(table_RD[row_BT] for table_RD, row_BT in zip(self.tables, index, strict=True))
    pe_BTD = jnp.where(at.placed[..., None], pe_BTD, 0)
    return (x_BTD.astype(at_least_float32(x_BTD)) + pe_BTD).astype(x_BTD.dtype), state


EXAMPLES = (
  dict(learned_nd=dict(grid=(64, 32))),
  dict(learned_nd=dict(grid=(64, 32), factorized=True)),
)
