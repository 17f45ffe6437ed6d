"""Random draws and counts over the tokens so far, for encodings that move positions.

If an encoding's positions depend on earlier tokens, its state keeps the counts of the last token,
so that a text in parts is counted like the entire text. Counts restart where the segment changes;
padding is not counted.
"""

import zlib

import flax
import jax
import jax.numpy as jnp
from jax import lax

from posjax.encodings.core.tokens import Positions


def key(rng: jax.Array | None, name: str) -> jax.Array:
  """Returns a key for the encoding `name`: all parts of a chain receive the same `rng`."""
  if rng is None:
    raise ValueError(f'{name} draws positions in training: pass a key, rng=jax.random.key(…)')
  return jax.random.fold_in(rng, zlib.crc32(name.encode()))


def check_ids(what: str, ids: tuple[int, ...]) -> None:
  if not ids or not all(type(i) is int and i >= 0 for i in ids):
    raise ValueError(f'{what} must be token ids, at least one; they are {ids}')


def is_one_of(ids: tuple[int, ...], at: Positions) -> jax.Array:
  """Returns which tokens have one of the `ids`, False for padding: [B or 1, T]."""
  if isinstance(at.ids, tuple):
    raise ValueError('positions depend on token ids here: pass them, Positions(…, ids=tokens_BT)')
  return (at.ids[..., None] == jnp.asarray(ids)).any(axis=-1) & (at.segment_ids >= 0)


def latest(x_BT: jax.Array, last_B: jax.Array) -> jax.Array:
  """Returns `last`, then for each token the latest nonnegative value so far: [B, 1 + T]."""
  x_BT = jnp.broadcast_to(x_BT, (len(last_B), x_BT.shape[1])).astype(last_B.dtype)
  x_BT = jnp.concatenate([last_B[:, None], x_BT], axis=1)
  return lax.associative_scan(lambda old, new: jnp.where(new < 0, old, new), x_BT, axis=1)


def count(step_BT: jax.Array, restart_BT: jax.Array, before_B: jax.Array) -> jax.Array:
  """Sums steps, each 0 or 1, from the latest restart on, including its step: [B, T] int32.

  `before` is the count before the first of these tokens.
  """
  total_BT = before_B[:, None] + jnp.cumsum(step_BT, axis=1, dtype=jnp.int32)
  return total_BT - lax.cummax(jnp.where(restart_BT, total_BT - step_BT, 0), axis=1)


@flax.struct.dataclass
class Digits:
  """State after the last token, [B] each: its index in a number, and its segment."""

  place: jax.Array
  segment_ids: jax.Array


def no_digits(batch: int) -> Digits:
  return Digits(jnp.zeros(batch, jnp.int32), jnp.full(batch, -1, jnp.int32))


def places(at: Positions, digits: tuple[int, ...], last: Digits) -> tuple[jax.Array, Digits]:
  """Returns c_t of each digit, 0 for other tokens, [B, T]; and the `Digits` after them."""
  digit_BT = is_one_of(digits, at)
  segment_BT = latest(at.segment_ids, last.segment_ids)
  restart_BT = (segment_BT[:, 1:] != segment_BT[:, :-1]) | ~(digit_BT | (at.segment_ids < 0))
  count_BT = count(digit_BT, restart_BT, last.place)
  return count_BT * digit_BT, Digits(count_BT[:, -1], segment_BT[:, -1])
