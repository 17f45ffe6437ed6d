"""Products of queries and keys with a vector per distance (arXiv 1803.02155, 2006.03654)."""

import jax
import jax.numpy as jnp
from jax import lax

from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.toeplitz import skew
from posjax.encodings.core.tokens import AttentionInput, Pair


def of_queries(q: AttentionInput, r_1HR: jax.Array) -> jax.Array:
  """Returns q_i . r for R vectors, per head or shared by all heads: [B, N, T, R]."""
  B, _, N, _ = q.h.shape
  r_BNHR = jnp.broadcast_to(r_1HR, (B, N, *r_1HR.shape[1:]))
  return jnp.einsum('BTNH,BNHR->BNTR', q.h, r_BNHR, preferred_element_type=at_least_float32(q.h))


def of_keys(pair: Pair, k_BSNH: jax.Array, rows_R1H: jax.Array, row_BTS: jax.Array) -> jax.Array:
  """Returns k_j . rows[row_ij] of a pair of blocks, [B, N, T, S]; `rows` per head or shared."""

  def product(rows_R1H):
    rows_RNH = jnp.broadcast_to(rows_R1H, (len(rows_R1H), *k_BSNH.shape[2:]))
    dtype = at_least_float32(k_BSNH)
    return jnp.einsum('BSNH,RNH->BNSR', k_BSNH, rows_RNH, preferred_element_type=dtype)

  if not (pair.q.consecutive and pair.k.consecutive):
    return jnp.take_along_axis(product(rows_R1H), row_BTS.mT[:, None], axis=-1).mT

  row_TS = row_BTS[0]
  T, S = row_TS.shape
  near = lambda: skew(product(rows_R1H[descending(row_TS.T)]), S).mT
  far = lambda: jnp.repeat(product(rows_R1H[row_TS[:1, 0]]).mT, T, axis=2)
  return lax.cond(jnp.min(row_TS) == jnp.max(row_TS), far, near)


def descending(row_TS: jax.Array) -> jax.Array:
  """Returns the T + S rows of consecutive positions, in the order of `skew` and `unskew`."""
  # No pair has the last row.
  return jnp.concatenate([row_TS[::-1, 0], row_TS[0, 1:], row_TS[0, -1:]])
