"""Learned absolute positions: one trained row of a table for each position.

Gehring et al. 2017, arXiv 1705.03122; BERT, arXiv 1810.04805; GPT-2 (Radford et al. 2019).

  x_t = E[token_t] + W[p_t]        W: [R, D]
"""

from flax import linen as nn

from posjax.encodings.encoding import Encoding, wide


class Learned(Encoding):
  """A position from `length` on has no row; who calls must not ask for one (see `limit`)."""

  length: int = 1024
  stddev: float = 0.02
  shift_invariant = False
  whole_positions = True

  @property
  def limit(self):
    return self.length

  def check(self, dims):
    if self.length < 1:
      raise ValueError(f'length, the rows of the table, must be positive; it is {self.length}')

  def setup(self):
    self.table_RD = self.weight('table_RD', nn.initializers.normal(self.stddev), R=self.length)

  def embed(self, x_BTD, at):
    pe_BTD = self.table_RD[at.pos[..., 0]]
    return (x_BTD.astype(wide(x_BTD)) + pe_BTD).astype(x_BTD.dtype)


def examples():
  """Small settings, which the tests hold to the contract."""
  return (Learned(length=64),)
