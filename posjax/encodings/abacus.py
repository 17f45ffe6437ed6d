"""Abacus: a learned vector for each digit's index in its number, wherever the number stands.

McLeish et al. 2024, "Transformers can do arithmetic with the right embeddings", NeurIPS, arXiv
2405.17399, section 3.1.

  x_t = E[token_t] + W[c_t + k]    if token t is the c_t-th digit of a number, c_t = 1, 2, …
        E[token_t] + W[0]          else                                           W: [R, D]
  k ~ U{0 .. K} in training, one draw for all rows of a batch; k = 0 outside of training

If numbers begin with the least significant digit, digits of the same weight share a row.
Abacus leaves positions unchanged for the next encoding in the chain: 'abacus+fire',
'abacus+rope', 'abacus+nope'. Digits beyond the table share its last row.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions, State
from posjax.encodings.parts.counting import Digits, check_ids, key, no_digits, places


@flax.struct.dataclass
class Rows:
  """The offset k, [1], and the `Digits` after the last token."""

  offset: jax.Array
  last: Digits


class Abacus(Encoding):
  digits: tuple[int, ...] = tuple(range(48, 58))
  length: int = 1024
  max_offset: int = 99
  stddev: float = 0.02
  longer_tables = ('table_RD',)
  reads_ids = True
  axes = None

  def check(self, dims: Dims) -> None:
    check_ids('digits', self.digits)
    if not 0 <= self.max_offset < self.length - 1:
      raise ValueError(
        'max_offset must lie between 0 and '
        f'length - 2 = {self.length - 2}, to leave a row for digits; it is {self.max_offset}'
      )

  def setup(self) -> None:
    self.table_RD = self.weight('table_RD', nn.initializers.normal(self.stddev), R=self.length)

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    offset = jnp.zeros(1, jnp.int32)
    if train:
      offset = jax.random.randint(key(rng, 'abacus'), (1,), 0, self.max_offset + 1, jnp.int32)
    return State(sequence=Rows(offset, no_digits(batch)))

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    place_BT, last = places(at, self.digits, state.last)
    row_BT = jnp.where(place_BT > 0, jnp.minimum(place_BT + state.offset, self.length - 1), 0)
    x = x_BTD.astype(at_least_float32(x_BTD)) + self.table_RD[row_BT]
    return x.astype(x_BTD.dtype), Rows(state.offset, last)


EXAMPLES = (
  dict(abacus=dict(digits=(1, 2, 3, 4, 5, 6, 7, 8, 9), length=8, max_offset=4), rope={}),
  dict(abacus=dict(digits=(0, 3), length=40, max_offset=30), fire=dict(length=9)),
)
