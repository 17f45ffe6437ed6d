"""SHAPE: in training, a sequence begins at a random position, so a model can only use distances.

Kiyono et al. 2021, "SHAPE: Shifted absolute position embedding for Transformers", EMNLP, arXiv
2109.05644.

  p_i -> p_i + k        k ~ U{0 .. K-1}, one for each sequence

It only changes positions: chain it with an encoding that uses them, such as 'shift+sinusoidal'.
Each row of a batch has its own draw, which the documents of the row share. Outside of training, k
is K, as in the released code.
"""

from typing import Any

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions, State
from posjax.encodings.parts.counting import key


class Shift(Encoding):
  offsets: int = 500
  encoder_order = 'nothing'

  def check(self, dims: Dims) -> None:
    if self.offsets < 1:
      raise ValueError(f'offsets, the number of shifts, must be positive; it is {self.offsets}')

  def farthest(self, last: int, train: bool) -> int:
    return last + self.offsets - (1 if train else 0)

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    if not train:
      return State(sequence=jnp.full(1, self.offsets, jnp.int32))
    k_B = jax.random.randint(key(rng, 'shift'), (batch,), 0, self.offsets, jnp.int32)
    return State(sequence=k_B)

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    k_B = state
    return at.pos + k_B[:, None, None], state


EXAMPLES = (dict(shift=dict(offsets=40), sinusoidal={}),)  # alone it changes nothing
