"""Attention in blocks with online softmax: memory linear in the length, any encoding.

Milakov and Gimelshein 2018, arXiv 1805.02867 (online softmax); Rabe and Staats 2021,
arXiv 2112.05682 (linear memory); Dao et al. 2022, arXiv 2205.14135 (blocks). For each key block:

  m' = max(m, max_j s_j)    p_j = exp(s_j - m')    l' = l e^(m - m') + sum_j p_j
  o' = o e^(m - m') + sum_j p_j v_j                                    at the end: o / l

If an encoding's logits are the logarithms of its weights, m = 0 and the output is not divided by l.

The forward pass visits key blocks in descending order, nearest first, because a carry
(`Encoding.init_carry`) relies on it; the backward pass starts at the farthest. Logits are not
stored. The backward pass recomputes them for each pair of blocks, with L = m + ln l of each query
and do the gradient of the output:

  p = exp(s - L)    dp = do v^T    ds = p (dp - do . o)
  dq += ds k        dk += ds^T q   dv += p^T do

Autodiff of the hooks on these two blocks gives the gradients of the terms that hooks add. Carries
are recomputed too, for one block of queries at a time.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from posjax.attention.blockwise import trees
from posjax.attention.blockwise.blocks import join, split
from posjax.attention.blockwise.tile import (
  Plan,
  Static,
  Tile,
  distance_tables,
  load_tile,
  make_bias,
  make_plan,
  one_row_at_a_time,
  output,
  over_rows,
  score,
  shares_bias,
)
from posjax.attention.products import qk_logits, swap_axes, weighted_queries, weighted_values
from posjax.attention.reference import nonzero
from posjax.encodings import AttentionInput, Bound
from posjax.encodings.core.arrays import at_least_float32


def blockwise(
  q: AttentionInput, k: AttentionInput, encoding: Bound, *, causal: bool, window: int, block: int
) -> jax.Array:
  """Returns softmax(score) v, in blocks of `block` times `tile` queries and keys; see `attend`."""

  def attend_blocks(how, encoding, q, k, carry):
    return gathered(how, encoding, q, k, distance_tables(q, k, encoding), carry)

  return in_blocks(attend_blocks, q, k, encoding, causal=causal, window=window, block=block)


def in_blocks(
  attend_blocks: Callable[..., tuple[jax.Array, Any]], q: AttentionInput, k: AttentionInput,
  encoding: Bound, *, causal: bool, window: int, block: int,
) -> jax.Array:
  """Splits queries and keys, calls `attend_blocks` like `gathered`, and joins its outputs."""
  kind, T, S = encoding.module, q.h.shape[1], k.h.shape[1]
  q_block, k_block = (max(1, int(block * factor)) for factor in kind.tile)
  q_block, k_block = min(q_block, T), min(k_block, kind.widest_block or S, S)
  q, k = split(q, q_block), split(k, k_block)
  k = jax.vmap(encoding.key_block)(k)
  carry = jax.vmap(encoding.init_carry)(q)
  ends = swap_axes(q), swap_axes(k)
  how = Static(
    causal, window, softmax=kind.normalizer == 'softmax',
    shared=shares_bias(encoding, *ends), one_row=one_row_at_a_time(),
  )
  o_BNTH, carry = attend_blocks(how, encoding, *ends, carry)
  finish = lambda o, q, carry: encoding.finish(o.swapaxes(1, 2), q, carry).swapaxes(1, 2)
  return join(jax.vmap(finish)(o_BNTH, q, carry), T).astype(q.h.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gathered(
  how: Static, encoding: Bound, q: AttentionInput, k: AttentionInput, r: Any, carry: Any
) -> tuple[jax.Array, Any]:
  """Returns blocks of outputs [blocks, B, N, T, H], and the final carry of each query block."""
  o_BNTH, _, carry = forward(how, encoding, q, k, r, carry)
  return o_BNTH, carry


def forward(
  how: Static, encoding: Bound, q: AttentionInput, k: AttentionInput, r: Any, carry: Any
) -> tuple[jax.Array, jax.Array, Any]:
  """Returns outputs as `gathered`, then L of each query, [blocks, B, N, T], then the carries."""
  plan = make_plan(how, q, k)

  def query_block(i):
    sums = start(how, trees.take(q, i), k, trees.take(carry, i))
    return settle(how, absorb(how, plan, encoding, q, k, r, i, sums))

  return lax.map(query_block, jnp.arange(len(q.h)))


def start(
  how: Static, q: AttentionInput, k: AttentionInput, carry: Any
) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
  """Returns the running sums of queries that have seen no key: o, m, l and the carry."""
  dtype = at_least_float32(q.h)
  # Computed from the queries, so that under shard_map it varies over the same mesh axes.
  l_BNT = jnp.where(False, q.h[..., 0], 0).astype(dtype)
  o_BNTH = jnp.broadcast_to(l_BNT[..., None], (*l_BNT.shape, k.v.shape[-1]))
  # Above the logit of a masked key: a query that sees no key then gives all keys weight 0.
  m_BNT = l_BNT + (jnp.finfo(dtype).min / 2 if how.softmax else 0)
  return o_BNTH, m_BNT, l_BNT, carry


def absorb(
  how: Static, plan: Plan, encoding: Bound, q: AttentionInput, k: AttentionInput, r: Any,
  i: jax.Array | int, sums: tuple[jax.Array, jax.Array, jax.Array, Any],
) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
  """Adds all keys to the running sums of block i of queries, the nearest keys first."""

  def visit(turn, sums):
    tile, _ = load_tile(plan, q, k, r, i, plan.last[i] - 1 - turn)
    if how.shared:
      tile = tile.replace(bias=make_bias(encoding, tile))
    update = lambda tile, sums, *_: (online(how, encoding, tile, sums), ())
    return over_rows(how, update, tile, sums)[0]

  return lax.fori_loop(0, plan.last[i] - plan.first[i], visit, sums)


def settle(
  how: Static, sums: tuple[jax.Array, jax.Array, jax.Array, Any]
) -> tuple[jax.Array, jax.Array, Any]:
  """Returns outputs, L = m + ln l and the carry, after the last key."""
  o_BNTH, m_BNT, l_BNT, carry = sums
  l_BNT = nonzero(l_BNT) if how.softmax else jnp.ones_like(l_BNT)
  return o_BNTH / l_BNT[..., None], m_BNT + jnp.log(l_BNT), carry


def online(
  how: Static, encoding: Bound, tile: Tile, sums: tuple[jax.Array, jax.Array, jax.Array, Any]
) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
  """Adds the keys of a tile to the running sums of its queries."""
  o_BNTH, m_BNT, l_BNT, carry = sums
  s_BNTS, carry = score(how, encoding, tile, qk_logits(tile.q.h, tile.k.h), carry)
  m_new = jnp.maximum(m_BNT, jnp.max(s_BNTS, axis=-1)) if how.softmax else m_BNT
  p_BNTS, shrink_BNT = jnp.exp(s_BNTS - m_new[..., None]), jnp.exp(m_BNT - m_new)
  new_BNTH = output(how, encoding, tile, weighted_values(p_BNTS, tile.k.v), p_BNTS)
  o_BNTH = o_BNTH * shrink_BNT[..., None] + new_BNTH
  return o_BNTH, m_new, l_BNT * shrink_BNT + jnp.sum(p_BNTS, axis=-1), carry


def keep(
  how: Static, encoding: Bound, q: AttentionInput, k: AttentionInput, r: Any, carry: Any
) -> tuple[tuple[jax.Array, Any], tuple]:
  o_BNTH, L_BNT, after = forward(how, encoding, q, k, r, carry)
  return (o_BNTH, after), (encoding, q, k, r, carry, o_BNTH, L_BNT)


def backward(how: Static, kept: tuple, cotangents: tuple[jax.Array, Any]) -> tuple:
  """Returns the gradients of the arguments of `gathered`."""
  return trees.like(gradients(how, kept, cotangents), trees.floats(kept[:5]))


def gradients(how: Static, kept: tuple, cotangents: tuple[jax.Array, Any]) -> tuple:
  """Returns the gradients of `gathered` in float32 or wider.

  `kept` has its arguments, then outputs and L. These may be of more keys than the arguments have:
  the result is then the part of the gradients that comes from these keys.
  """
  encoding, q, k, r, carry, o_BNTH, L_BNT = kept
  do_BNTH, dcarry = cotangents
  delta_BNT = jnp.sum(do_BNTH * o_BNTH, axis=-1) * how.softmax
  plan = make_plan(how, q, k)

  def query_block(totals, i):
    entering = carries(how, plan, encoding, q, k, r, carry, i)
    of_queries = trees.take((do_BNTH, delta_BNT, L_BNT), i)

    def visit(turn, sums):
      (dq, dcarry), (dencoding, dk, dr) = sums
      j = plan.first[i] + turn
      tile, place = load_tile(plan, q, k, r, i, j)
      pull, bias, dbias = None, None, None
      if how.shared:
        bias, pull = trees.vjp(make_bias, encoding, tile)
        tile, dbias = tile.replace(bias=bias), trees.zeros(bias)
      update = lambda tile, *sums: pull_back(how, encoding, tile, *sums)
      state, (dencoding, dr_ij, dbias) = over_rows(
        how, update, tile, (dq, trees.take(dk, j), dcarry),
        rows=(*of_queries, trees.take(entering, j)),
        totals=(dencoding, trees.zeros(trees.floats(tile.r)), dbias),
      )
      dq, dk_j, dcarry = state
      if how.shared:
        more, tile = pull(trees.like(dbias, bias))
        dencoding, dr_ij = trees.add((dencoding, dr_ij), (more, tile.r))
        dq, dk_j = trees.add((dq, dk_j), (tile.q, columns(tile.k)))
      return (dq, dcarry), (dencoding, trees.put(dk, dk_j, j), trees.add_at(dr, dr_ij, place))

    start = trees.zeros(trees.floats(trees.take(q, i))), trees.take(dcarry, i)
    of_block, totals = lax.fori_loop(0, plan.last[i] - plan.first[i], visit, (start, totals))
    return totals, of_block

  totals = trees.zeros(trees.floats((encoding, columns(k), r)))
  (dencoding, dk, dr), (dq, dcarry) = lax.scan(query_block, totals, jnp.arange(len(q.h)))
  return dencoding, dq, columns(dk), dr, dcarry


def pull_back(
  how: Static, encoding: Bound, tile: Tile, state: tuple, rows: tuple, totals: tuple
) -> tuple[tuple, tuple]:
  """Adds the gradients of one tile to those of its queries and keys, and to the shared `totals`."""
  dq, dk, dcarry = state
  do_BNTH, delta_BNT, L_BNT, entering = rows
  q_BNTH, k_BKSH, v_BKSH = tile.q.h, tile.k.h, tile.k.v
  (s_BNTS, _), pull_score = trees.vjp(
    functools.partial(score, how), encoding, tile, qk_logits(q_BNTH, k_BKSH), entering
  )
  p_BNTS = jnp.exp(s_BNTS - L_BNT[..., None])
  _, pull_output = trees.vjp(
    functools.partial(output, how), encoding, tile, weighted_values(p_BNTS, v_BKSH), p_BNTS
  )
  *first, do_BNTH, dp_BNTS = pull_output(do_BNTH)
  do_BNTH = do_BNTH.astype(v_BKSH.dtype)
  ds_BNTS = p_BNTS * (dp_BNTS + qk_logits(do_BNTH, v_BKSH) - delta_BNT[..., None])
  *second, ds_BNTS, dcarry = pull_score((ds_BNTS, dcarry))
  dencoding, tile = trees.add(first, second)
  totals = trees.add(totals, (dencoding, tile.r, tile.bias))
  dq, dk = trees.add((dq, dk), (tile.q, columns(tile.k)))
  dq = dq.replace(h=dq.h + weighted_values(ds_BNTS, k_BKSH))
  dk = dk.replace(
    h=dk.h + weighted_queries(q_BNTH, ds_BNTS, k_BKSH),
    v=dk.v + weighted_queries(do_BNTH, p_BNTS, v_BKSH),
  )
  return (dq, dk, dcarry), totals


def carries(
  how: Static, plan: Plan, encoding: Bound, q: AttentionInput, k: AttentionInput, r: Any,
  carry: Any, i: jax.Array | int,
) -> Any:
  """Returns the carry before each block of keys, for block i of queries."""
  start = trees.take(carry, i)
  if not jax.tree.leaves(start):
    return start

  def visit(turn, sums):
    carry, entering = sums
    j = plan.last[i] - 1 - turn
    tile, _ = load_tile(plan, q, k, r, i, j)
    if how.shared:
      tile = tile.replace(bias=make_bias(encoding, tile))

    def update(tile, carry, *_):
      return score(how, encoding, tile, qk_logits(tile.q.h, tile.k.h), carry)[1], ()

    return over_rows(how, update, tile, carry)[0], trees.put(entering, carry, j)

  room = lambda x: jnp.broadcast_to(jnp.zeros_like(x), (len(k.h), *x.shape))
  entering = jax.tree.map(room, start)
  return lax.fori_loop(0, plan.last[i] - plan.first[i], visit, (start, entering))[1]


def columns(k: AttentionInput) -> AttentionInput:
  """Transposes h and v to [..., H, S], as their gradients are summed: see `weighted_queries`."""
  return k.replace(h=k.h.mT, v=k.v.mT)


gathered.defvjp(keep, backward)
