"""Randomized positions: tokens get sorted random positions from a range longer than the text.

Ruoss et al. 2023, ACL, arXiv 2305.16843, section 3. For at most C tokens,

  draw C of the integers 0 .. places - 1, each set equally likely, and sort them;
  the token of index p gets the p-th of them as its position

So training covers distances up to `places` with texts that are far shorter. This encoding only
changes positions: chain it with an encoding that uses them, such as 'randomize+rope'. All rows of a
batch, all layers, queries and keys share one draw; a cache keeps it. As in the released code,
positions are also drawn at evaluation. `at_evaluation=False` keeps positions unchanged outside of
training (McLeish et al. 2024); they then have no limit.
"""

from typing import Any

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions, State
from posjax.errors import UserError


class Randomize(Encoding):
  places: int = 2048
  at_evaluation: bool = True
  limit = property(lambda self: self.places if self.at_evaluation else None)
  shift_invariant = False
  whole_positions = True
  encoder_order = 'nothing'
  depends_on_capacity = 'one draw gives the positions of all of them'

  def check(self, dims: Dims) -> None:
    if self.places < 1:
      raise ValueError(f'places, the positions to draw from, must be positive; it is {self.places}')

  def farthest(self, last: int, train: bool) -> int:
    return self.places - 1 if train or self.at_evaluation else last

  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    if not train and not self.at_evaluation:
      return State()
    if train and capacity > self.places:
      raise UserError(f'randomize: {capacity} tokens do not fit into {self.places} places')
    if rng is None:
      raise ValueError('randomize draws positions: give the model a key, rng=jax.random.key(…)')
    places = jax.random.permutation(rng, self.places)[: min(capacity, self.places)]
    return State(sequence=jnp.sort(places).astype(jnp.int32)[None])

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    if isinstance(state, tuple):  # nothing was drawn
      return at.pos, state
    places_1C = state
    return places_1C[0, at.pos[..., 0]][..., None], state


EXAMPLES = (dict(randomize=dict(places=200), rope={}),)  # alone it changes nothing
