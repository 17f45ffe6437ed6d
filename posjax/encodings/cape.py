"""CAPE: in training positions are shifted, nudged one by one, and stretched.

Likhomanenko et al. 2021, "CAPE: Encoding relative positions with continuous augmented positional
embeddings", NeurIPS, arXiv 2106.03143.

  p'_i = exp(lambda) (p_i + Delta + epsilon_i)
  Delta ~ U(-D, D),  lambda ~ U(-ln m, ln m)  for each sequence     epsilon_i ~ U(-e, e)  for each i

It moves positions only: chain it with an encoding that takes fractions, 'cape+sinusoidal'. Up to
e = 1/2 tokens keep their order. The rows of a batch draw each for itself. `normalize` takes the
mean off first, outside of training too, as the paper does for speech. It is that of all tokens that
may come, (C - 1) / 2: the mean of those so far would move with each token, and the keys in a cache
would be wrong.
"""

import math

import flax
import jax
import jax.numpy as jnp

from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import State
from posjax.encodings.parts.counting import key


@flax.struct.dataclass
class Moves:
  """Of each row, or of all: Delta less the mean, exp(lambda) [B or 1]; epsilon [B or 1, C]."""

  shift: jax.Array
  stretch: jax.Array
  nudge: jax.Array


class Cape(Encoding):
  global_shift: float = 5.0
  local_shift: float = 0.5
  max_scale: float = 1.03
  normalize: bool = False
  fractions = True

  # The p-th position has the p-th nudge.
  whole_positions = property(lambda self: self.local_shift > 0)
  shift_invariant = property(lambda self: self.local_shift == 0)

  @property
  def depends_on_capacity(self):
    return 'their mean position is taken off' if self.normalize else ''

  def check(self, dims):
    if self.global_shift < 0 or self.local_shift < 0:
      raise ValueError(
        'global_shift and local_shift must not be negative; '
        f'they are {self.global_shift} and {self.local_shift}'
      )
    if self.max_scale < 1:
      raise ValueError(f'max_scale must be 1 at least; it is {self.max_scale}')

  def init_state(self, batch, capacity, train, rng):
    mean = (capacity - 1) / 2 if self.normalize else 0.0
    if not train:
      return State(sequence=Moves(jnp.full(1, -mean, 'float32'), jnp.ones(1), jnp.zeros((1, 1))))
    rngs = jax.random.split(key(rng, 'cape'), 3)
    # Token by token: what the first ones draw is no matter of how many may come.
    nudge_CB = uniform(rngs[0], (capacity, batch), self.local_shift)
    shift_B = uniform(rngs[1], (batch,), self.global_shift)
    stretch_B = jnp.exp(uniform(rngs[2], (batch,), math.log(self.max_scale)))
    return State(sequence=Moves(shift_B - mean, stretch_B, nudge_CB.T))

  def positions(self, at, state):
    return move(at.pos, state), state


def uniform(rng, shape, most):
  """From -most to most; the same numbers whatever the precision of the positions."""
  return jax.random.uniform(rng, shape, jnp.float32, -most, most)


def move(pos_BTP, moves):
  """exp(lambda) (p + Delta + epsilon_p)."""
  moves = jax.tree.map(lambda x: x.astype(float), moves)
  index_BT = pos_BTP[..., 0].astype(jnp.int32)
  nudge_BT = jnp.take_along_axis(moves.nudge, index_BT, axis=1, mode='clip')
  shift_BT = moves.shift[:, None] + nudge_BT
  return moves.stretch[:, None, None] * (pos_BTP + shift_BT[..., None])


EXAMPLES = (
  dict(cape=dict(max_scale=1.5), sinusoidal={}),
  dict(cape=dict(local_shift=0.0, max_scale=1.5, normalize=True), sinusoidal={}),
)
