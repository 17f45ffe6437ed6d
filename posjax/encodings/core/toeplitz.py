"""Blocks of scores, computed once for each distance, not once for each pair.

If positions are consecutive, the pairs of a block of T queries and S keys have T + S - 1 distances.
The block is then a Toeplitz matrix: each row holds the same values, shifted by one. Building it
takes no gather, and its gradient no scatter.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from posjax.encodings.core.tokens import AttentionInput


def unfold(
  bias_from_table: Callable[..., jax.Array], q: AttentionInput, r: Any, far: jax.Array | bool | None
) -> jax.Array:
  """Returns the scores [B or 1, N, T, S] of a block; see `Encoding.bias_from_table`.

  Args:
    bias_from_table: the hook.
    q: a block of T queries.
    r: leaves [N or 1, ..., T + S], for descending distances.
    far: whether the hook is linear in all these distances (constant, if it depends on the query);
      None: it never is.
  """
  T = q.h.shape[1]
  S = jax.tree.leaves(r)[0].shape[-1] - T
  of_query = jax.eval_shape(bias_from_table, q, r).shape[2] > 1

  def near():
    return skew(bias_from_table(q, r), T)

  def flat():
    if not of_query:
      return linear(bias_from_table(q, r), T)
    one_BNT1 = bias_from_table(q, jax.tree.map(lambda x: x[..., :1], r))
    return jnp.broadcast_to(one_BNT1, (*one_BNT1.shape[:3], S))

  return near() if far is None else lax.cond(far, flat, near)


def skew(x_BNTR: jax.Array, T: int) -> jax.Array:
  """Returns y[i, j] = x[i, T - 1 - i + j], [B, N, T, S], for R = T + S descending distances.

  If `x` is the same for all queries, its axis T may have size 1.
  """
  return (_skew_one if x_BNTR.shape[2] == 1 else _skew_each)(x_BNTR, T)


def _slices(x_BNTR, starts_T, size):
  """Returns `size` values of each row, from the start index of the row."""
  one = lambda x, start: lax.dynamic_slice_in_dim(x, start, size, axis=-1)
  return jax.vmap(one, (2, 0), 2)(x_BNTR, starts_T)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _skew_each(x_BNTR, T):
  return _slices(x_BNTR, T - 1 - jnp.arange(T), x_BNTR.shape[-1] - T)


@jax.custom_vjp
def unskew(y_BNTS: jax.Array) -> jax.Array:
  """Moves each row back to where `skew` reads it, with zeros elsewhere: [B, N, T, R]."""
  T, S = y_BNTS.shape[2:]

  def sliced(y):
    return _slices(jnp.pad(y, [(0, 0)] * 3 + [(T, T)]), 1 + jnp.arange(T), T + S)

  def in_place(y):
    def write(i, x):
      row = lax.dynamic_slice_in_dim(y, i, 1, axis=2)
      return lax.dynamic_update_slice(x, row, (0, 0, i, T - 1 - i))

    return lax.fori_loop(0, T, write, jnp.zeros((*y.shape[:3], T + S), y.dtype))

  # On a CPU, every product that reads a slice would compute the slice again.
  return lax.platform_dependent(y_BNTS, cpu=in_place, default=sliced)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _skew_one(x_BN1R, T):
  return _skew_each(jnp.broadcast_to(x_BN1R, (*x_BN1R.shape[:2], T, x_BN1R.shape[-1])), T)


def _sum_diagonals(T, _, dy_BNTS):
  """Adds neighboring rows, one shifted against the other, until one row is left."""
  rows = 1 << (T - 1).bit_length()
  dy = jnp.pad(dy_BNTS, [(0, 0), (0, 0), (0, rows - T), (0, 0)])
  shift = 1
  while shift < rows:
    even, odd = (jnp.pad(x, [(0, 0)] * 3 + [ends]) for x, ends in (
      (dy[:, :, 0::2], (shift, 0)), (dy[:, :, 1::2], (0, shift))
    ))
    dy, shift = even + odd, 2 * shift
  return (jnp.pad(dy[..., rows - T :], [(0, 0)] * 3 + [(0, 1)]),)


# `skew` and `unskew` are each other's gradient; autodiff would scatter.
_skew_each.defvjp(lambda x, T: (_skew_each(x, T), None), lambda T, _, dy: (unskew(dy),))
unskew.defvjp(lambda y: (unskew(y), None), lambda _, dx: (_skew_each(dx, dx.shape[2]),))
_skew_one.defvjp(lambda x, T: (_skew_one(x, T), None), _sum_diagonals)


def linear(x_BN1R: jax.Array, T: int) -> jax.Array:
  """Returns `skew` of values linear in the distance, as a sum of row terms and key terms."""
  row_BNT1 = jnp.flip(x_BN1R[..., :T], axis=-1).swapaxes(2, 3)
  key_BN1S = x_BN1R[..., T - 1 : -1]
  return row_BNT1 + (key_BN1S - key_BN1S[..., :1])
