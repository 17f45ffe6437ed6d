"""Position coupling: digits of the same weight in a sum share a position.

Cho et al. 2024, "Position coupling: improving length generalization of arithmetic Transformers
using task structure", NeurIPS, arXiv 2405.20671, in its form for sums whose numbers all begin with
the least significant digit (`reverse_input` and `reverse_output` of the released code).

  p_t = s + c_t    if token t is the c_t-th digit of a number, c_t = 1, 2, …
        s          if it is '+' or '='
        0          if it is neither
  s ~ U{1 .. starts} in training, one draw per sequence; s = 1 outside of training

In the paper's main form, operands begin with the most significant digit. The position of a number's
first digit then depends on where the number ends, and this encoding does not look ahead. For that
form, pass positions with the tokens, `Positions.pos`, and omit this encoding, which ignores them.
Chain it with an encoding that reads positions: the paper's is 'coupling+learned'.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions, State
from posjax.encodings.parts.counting import Digits, check_ids, is_one_of, key, no_digits, places


@flax.struct.dataclass
class Sums:
  """The start s, [B or 1], and the `Digits` after the last token."""

  start: jax.Array
  last: Digits


class Coupling(Encoding):
  digits: tuple[int, ...] = tuple(range(48, 58))
  operators: tuple[int, ...] = (43, 61)
  starts: int = 91
  reads_ids = True

  def check(self, dims: Dims) -> None:
    check_ids('digits', self.digits)
    check_ids('operators', self.operators)
    if self.starts < 1:
      raise ValueError(f'starts, the number of starts, must be positive; it is {self.starts}')

  def farthest(self, last: int, train: bool) -> int:
    """Returns the position of the last digit if all tokens form one number."""
    return (self.starts if train else 1) + last + 1

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    start = jnp.ones(1, jnp.int32)
    if train:
      start = jax.random.randint(key(rng, 'coupling'), (batch,), 1, self.starts + 1, jnp.int32)
    return State(sequence=Sums(start, no_digits(batch)))

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    place_BT, last = places(at, self.digits, state.last)
    part_BT = (place_BT > 0) | is_one_of(self.operators, at)
    pos_BT = jnp.where(part_BT, state.start[:, None] + place_BT, 0)
    return pos_BT[..., None], Sums(state.start, last)


DIGITS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
EXAMPLES = (dict(coupling=dict(digits=DIGITS, operators=(10, 11), starts=30), rope={}),)
