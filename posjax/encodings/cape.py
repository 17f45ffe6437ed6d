"""CAPE: in training, positions are shifted, nudged one by one, and stretched.

Likhomanenko et al. 2021, "CAPE: Encoding relative positions with continuous augmented positional
embeddings", NeurIPS, arXiv 2106.03143.

  p'_i = exp(lambda) (p_i + Delta + epsilon_i)
  Delta ~ U(-D, D),  lambda ~ U(-ln m, ln m)  for each sequence     epsilon_i ~ U(-e, e)  for each i

CAPE only moves positions: chain it with an encoding that accepts fractions, 'cape+sinusoidal'.
Tokens keep their order up to e = 1/2. Each row of a batch has its own draws. `normalize` first
subtracts the mean position, also outside of training, as the paper does for speech. This is the
mean over the capacity C, (C - 1) / 2: a mean over the tokens so far would move with each token and
make cached keys wrong.
"""

import math
from typing import Any

import flax
import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions, State
from posjax.encodings.parts.counting import key


@flax.struct.dataclass
class Moves:
  """Delta minus the mean and exp(lambda), [B or 1] each; epsilon, [B or 1, C]."""

  shift: jax.Array
  stretch: jax.Array
  nudge: jax.Array


class Cape(Encoding):
  global_shift: float = 5.0
  local_shift: float = 0.5
  max_scale: float = 1.03
  normalize: bool = False
  fractions = True
  encoder_order = 'nothing'

  # Position p is the index of its nudge.
  whole_positions = property(lambda self: self.local_shift > 0)
  shift_invariant = property(lambda self: self.local_shift == 0)

  @property
  def depends_on_capacity(self) -> str:
    return 'their mean position is subtracted' if self.normalize else ''

  def check(self, dims: Dims) -> None:
    if self.global_shift < 0 or self.local_shift < 0:
      raise ValueError(
        'global_shift and local_shift must not be negative; '
        f'they are {self.global_shift} and {self.local_shift}'
      )
    if self.max_scale < 1:
      raise ValueError(f'max_scale must be at least 1; it is {self.max_scale}')

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    mean = (capacity - 1) / 2 if self.normalize else 0.0
    if not train:
      return State(sequence=Moves(jnp.full(1, -mean, 'float32'), jnp.ones(1), jnp.zeros((1, 1))))
    rngs = jax.random.split(key(rng, 'cape'), 3)
    # Tokens first: the draws of the first tokens do not depend on the capacity.
    nudge_CB = uniform(rngs[0], (capacity, batch), self.local_shift)
    shift_B = uniform(rngs[1], (batch,), self.global_shift)
    stretch_B = jnp.exp(uniform(rngs[2], (batch,), math.log(self.max_scale)))
    return State(sequence=Moves(shift_B - mean, stretch_B, nudge_CB.T))

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    return move(at.pos, state), state


def uniform(rng: jax.Array, shape: tuple[int, ...], most: float) -> jax.Array:
  """Draws from -most to most; the draws do not depend on the precision of positions."""
  return jax.random.uniform(rng, shape, jnp.float32, -most, most)


def move(pos_BTP: jax.Array, moves: Moves) -> jax.Array:
  """Returns exp(lambda) (p + Delta + epsilon_p), [B, T, P]."""
  moves = jax.tree.map(lambda x: x.astype(float), moves)
  index_BT = pos_BTP[..., 0].astype(jnp.int32)
  nudge_BT = jnp.take_along_axis(moves.nudge, index_BT, axis=1, mode='clip')
  shift_BT = moves.shift[:, None] + nudge_BT
  return moves.stretch[:, None, None] * (pos_BTP + shift_BT[..., None])


EXAMPLES = (
  dict(cape=dict(max_scale=1.5), sinusoidal={}),
  dict(cape=dict(local_shift=0.0, max_scale=1.5, normalize=True), sinusoidal={}),
)
