"""PoSE: in training, a text is cut in two and the positions of the second chunk skip ahead.

Zhu et al. 2023, "PoSE: Efficient context window extension of LLMs via positional skip-wise
training", ICLR 2024, arXiv 2309.10400, section 3; two chunks, cut as in the released code.

  p -> p              below l,    l ~ U{1 .. floor((L+1)/2)}
       p + u          from l on,  u ~ U{0 .. target - L}

L is the capacity: the most tokens that a row may hold. So training covers all distances up to
`target` with texts that are far shorter. Each row of a batch has its own draw. Outside of training,
positions do not change. PoSE only changes positions: chain it with an encoding that uses them, such
as 'pose+rope' or 'pose+interpolate+rope'.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions, State
from posjax.encodings.parts.counting import key


@flax.struct.dataclass
class Chunks:
  """For each row, [B]: the position where the second chunk begins, and the skip added to it."""

  cut: jax.Array
  skip: jax.Array


class Pose(Encoding):
  target: int = 2048  # positions that training covers
  encoder_order = 'nothing'
  shift_invariant = False
  depends_on_capacity = 'training cuts a text at one of them and keeps all of them below the target'

  def check(self, dims: Dims) -> None:
    if self.target < 1:
      raise ValueError(f'target, the positions to train, must be positive; it is {self.target}')

  def farthest(self, last: int, train: bool) -> int:
    return max(last, self.target - 1) if train else last

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    if not train:
      return State()
    rng, skips = key(rng, 'pose'), max(self.target - capacity, 0) + 1
    cut_B = jax.random.randint(rng, (batch,), 1, (capacity + 1) // 2 + 1, jnp.int32)
    skip_B = jax.random.randint(jax.random.fold_in(rng, 1), (batch,), 0, skips, jnp.int32)
    return State(sequence=Chunks(cut_B, skip_B))

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    if state == ():
      return at.pos, state
    cut, skip = state.cut[:, None, None], state.skip[:, None, None]
    return at.pos + jnp.where(at.pos < cut, 0, skip), state


EXAMPLES = (dict(pose=dict(target=200), rope={}),)  # alone it changes nothing
