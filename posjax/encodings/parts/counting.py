"""What encodings that move positions share: draws, and counts over the tokens so far.

An encoding that places a token by what came before it keeps in its state what the last token left
behind, so that a text in parts is counted as in one piece. Counts begin again where the segment
changes, and padding counts as no token.
"""

import zlib

import flax
import jax
import jax.numpy as jnp
from jax import lax


def key(rng, name):
  """The key of the encoding `name`: the parts of a chain are all given the same `rng`."""
  if rng is None:
    raise ValueError(f'{name} draws positions in training: give a key, rng=jax.random.key(…)')
  return jax.random.fold_in(rng, zlib.crc32(name.encode()))


def check_ids(what, ids):
  if not ids or not all(type(i) is int and i >= 0 for i in ids):
    raise ValueError(f'{what} must be numbers of tokens, one at least; they are {ids}')


def is_one_of(ids, at):
  """Which tokens have one of the numbers `ids`, padding not: [B or 1, T]."""
  if isinstance(at.ids, tuple):
    raise ValueError('it goes by what tokens are: give their numbers, Positions(…, ids=tokens_BT)')
  return (at.ids[..., None] == jnp.asarray(ids)).any(axis=-1) & (at.segment_ids >= 0)


def latest(x_BT, last_B):
  """`last`, then up to each token the last value that is not negative: [B, 1 + T]."""
  x_BT = jnp.broadcast_to(x_BT, (len(last_B), x_BT.shape[1])).astype(last_B.dtype)
  x_BT = jnp.concatenate([last_B[:, None], x_BT], axis=1)
  return lax.associative_scan(lambda old, new: jnp.where(new < 0, old, new), x_BT, axis=1)


def count(step_BT, restart_BT, before_B):
  """Sums of steps, each 0 or 1, from the last restart on, its own step included: [B, T] int32.

  `before` is the count before the first of these tokens.
  """
  total_BT = before_B[:, None] + jnp.cumsum(step_BT, axis=1, dtype=jnp.int32)
  return total_BT - lax.cummax(jnp.where(restart_BT, total_BT - step_BT, 0), axis=1)


@flax.struct.dataclass
class Digits:
  """What the last token has left, [B]: its place in a number, and its segment."""

  place: jax.Array
  segment_ids: jax.Array


def no_digits(batch):
  return Digits(jnp.zeros(batch, jnp.int32), jnp.full(batch, -1, jnp.int32))


def places(at, digits, last):
  """c_t of each digit, 0 of other tokens, [B, T]; and what the last one leaves."""
  digit_BT = is_one_of(digits, at)
  segment_BT = latest(at.segment_ids, last.segment_ids)
  restart_BT = (segment_BT[:, 1:] != segment_BT[:, :-1]) | ~(digit_BT | (at.segment_ids < 0))
  count_BT = count(digit_BT, restart_BT, last.place)
  return count_BT * digit_BT, Digits(count_BT[:, -1], segment_BT[:, -1])
