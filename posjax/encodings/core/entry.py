"""Prepares the inputs of attention: checks positions, and sets padding to 0."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
  from posjax.encodings.core.tokens import AttentionInput, Positions

AXES = {'pos': '[B or 1, T, P]', 'order': '[B or 1, T]', 'segment_ids': '[B or 1, T]'}


def checked(at: 'Positions', batch: int, length: int) -> 'Positions':
  """Returns `at` with integers of at least 32 bits.

  Args:
    at: `Positions` of `batch` rows of `length` tokens.

  Raises:
    ValueError: one line, for a wrong shape, or a dtype that cannot hold positions.
  """
  arrays = {name: getattr(at, name) for name in AXES}
  for name, x in arrays.items():
    rank = AXES[name].count(',') + 1
    if x.ndim != rank or x.shape[0] not in (1, batch) or x.shape[1] != length:
      hint = f'; write {name}[..., None]' if (name, x.ndim) == ('pos', 2) else ''
      raise ValueError(
        f'{name} must be {AXES[name]}, of {batch} rows and {length} tokens; its shape is '
        f'{x.shape}{hint}'
      )
  return at.replace(**{name: widened(name, x) for name, x in arrays.items()})


def widened(name: str, x: jax.Array) -> jax.Array:
  """Returns integers as int32 or int64; float32 and float64 positions are unchanged."""
  signed, bits = jnp.issubdtype(x.dtype, jnp.signedinteger), 8 * x.dtype.itemsize
  if name == 'pos' and jnp.issubdtype(x.dtype, jnp.floating) and bits >= 32:
    return x
  if signed and bits >= 32:
    return x
  if jnp.issubdtype(x.dtype, jnp.integer) and bits < 32:
    return x.astype(jnp.int32)
  valid = 'int32, or float32 for fractions' if name == 'pos' else 'int32'
  raise ValueError(f'{name} is {x.dtype}, which cannot hold positions and their differences; '
                   f'it must be {valid}')


def without_padding(tokens: 'AttentionInput') -> 'AttentionInput':
  """Sets h, v and features of padding to 0, so that a NaN in padding reaches no output.

  Features that all rows share depend on positions alone and are unchanged.
  """
  segment_ids = tokens.segment_ids

  def empty(x):
    if len(x) < len(segment_ids):
      return x
    real = segment_ids.reshape(*segment_ids.shape, *[1] * (x.ndim - 2)) >= 0
    return jnp.where(real, x, jnp.zeros((), x.dtype))

  h, v, features = jax.tree.map(empty, (tokens.h, tokens.v, tokens.features))
  return tokens.replace(h=h, v=v, features=features)
