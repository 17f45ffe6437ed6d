"""Learned absolute positions: one trained row of a table for each position.

Gehring et al. 2017, arXiv 1705.03122; BERT, arXiv 1810.04805; GPT-2 (Radford et al. 2019).

  x_t = E[token_t] + W[p_t + offset]        W: [length + offset, D]

In BERT, GPT-2 and ViT, the first row of the table is position 0. In RoBERTa and OPT, two rows that
no token uses precede it; with `offset=2` such a table loads unchanged. GPT-2 and ViT initialize the
table with N(0, 0.02), x-transformers with D^-0.5 times N(0, 1), which is `stddev` = D^-0.5.
A table for more or fewer positions: `posjax.encodings.parts.resize`.
"""

from typing import Any

import jax
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions


class Learned(Encoding):
  """Learned positions 0 .. length - 1; callers must not pass later ones (see `limit`)."""

  length: int = 1024
  stddev: float = 0.02
  offset: int = 0
  shift_invariant = False
  longer_tables = ('table_RD',)
  whole_positions = True

  @property
  def limit(self) -> int:
    return self.length

  def check(self, dims: Dims) -> None:
    if self.length < 1:
      raise ValueError(f'length, the rows of the table, must be positive; it is {self.length}')
    if self.offset < 0:
      raise ValueError(f'offset (rows before position 0) must not be negative; it is {self.offset}')

  def setup(self) -> None:
    rows = self.offset + self.length
    self.table_RD = self.weight('table_RD', nn.initializers.normal(self.stddev), R=rows)

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    pe_BTD = self.table_RD[at.pos[..., 0] + self.offset]
    return (x_BTD.astype(at_least_float32(x_BTD)) + pe_BTD).astype(x_BTD.dtype), state


EXAMPLES = dict(learned=dict(length=64)), dict(learned=dict(length=64, offset=2))
