"""A block of queries with a block of keys: its mask, and the logits and outputs of the encoding."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
from jax import lax

from posjax.attention.blockwise import trees
from posjax.attention.mask import extent, fully_visible, reachable, visible
from posjax.attention.products import swap_axes
from posjax.encodings import AttentionInput, Bound, Pair
from posjax.encodings.core.arrays import at_least_float32


@dataclasses.dataclass(frozen=True)
class Static:
  """Static options, fixed at trace time."""

  causal: bool
  window: int
  softmax: bool
  shared: bool  # whether one bias serves all rows
  one_row: bool  # whether rows are computed one at a time


@flax.struct.dataclass
class Plan:
  """For each block of queries, the range of key blocks that it visits: `first` to `last` - 1.

  fully_visible [blocks of queries, blocks of keys]: whether every query sees every key.
  """

  first: jax.Array
  last: jax.Array
  fully_visible: jax.Array


@flax.struct.dataclass
class Tile:
  """A block of queries and a block of keys, with h and v in the layout of products.

  r              `distance_table` of their distances; None if the encoding has no table
  nearest        their smallest distance on either side, negative if they overlap; only with `r`
  fully_visible  whether every query sees every key
  bias           computed in advance, if all rows share it
  """

  q: AttentionInput
  k: AttentionInput
  r: Any
  nearest: jax.Array | int
  fully_visible: jax.Array
  bias: Any = None


def one_row_at_a_time() -> bool:
  """Returns whether to compute tiles row by row: a CPU core's cache cannot hold the logits of all.

  Other devices, and rows sharded over several devices, compute all rows in one pass.
  """
  mesh = jax.sharding.get_abstract_mesh()
  return jax.default_backend() == 'cpu' and (mesh.empty or mesh.size == 1)


def make_plan(how: Static, q: AttentionInput, k: AttentionInput) -> Plan:
  q, k = jax.vmap(extent)(q), jax.vmap(extent)(k)
  pairs = lambda rule: jax.vmap(lambda q: rule(q, k, causal=how.causal, window=how.window))(q)
  reach = pairs(reachable)
  first = jnp.argmax(reach, axis=1)
  last = reach.shape[1] - jnp.argmax(reach[:, ::-1], axis=1)
  return Plan(first, jnp.where(jnp.any(reach, axis=1), last, first), pairs(fully_visible))


def distance_tables(q: AttentionInput, k: AttentionInput, encoding: Bound) -> Any:
  """Returns the encoding's table of all distances, largest first; None if it has no table.

  The distances of block i of n blocks of queries and block j of keys start at index
  (n - 1 - i) q_block + j k_block.
  """
  if not (q.consecutive and k.consecutive):
    return None
  T, S = (len(x.h) * x.h.shape[3] for x in (q, k))
  largest = q.pos[0, 0, 0, 0] - k.pos[0, 0, 0, 0] + T - 1
  return encoding.distance_table((largest - jnp.arange(T + S)).astype(at_least_float32(q.h)))


def shares_bias(encoding: Bound, q: AttentionInput, k: AttentionInput) -> bool:
  """Returns whether all rows share one bias: they share positions, or B is 1, or no bias exists."""

  def bias(q, k, r):
    size = q.h.shape[2] + k.h.shape[2]
    return make_bias(encoding, Tile(q, k, jax.tree.map(lambda x: x[..., :size], r), 0, False))

  block = lambda tokens: jax.eval_shape(lambda x: trees.take(x, 0), tokens)
  r = jax.eval_shape(distance_tables, q, k, encoding)
  made = jax.eval_shape(bias, block(q), block(k), r)
  return q.h.shape[1] == 1 or all(len(x) == 1 for x in jax.tree.leaves(made))


def load_tile(
  plan: Plan, q: AttentionInput, k: AttentionInput, r: Any, i: jax.Array | int, j: jax.Array | int
) -> tuple[Tile, jax.Array | int]:
  """Returns the `Tile` of block i of queries and block j of keys, and its start index in `r`."""
  blocks, T, S = len(q.h), q.h.shape[3], k.h.shape[3]
  q, k = trees.take(q, i), trees.take(k, j)
  place, nearest = (blocks - 1 - i) * T + j * S, 0
  if r is not None:
    r = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, place, T + S, -1), r)
    apart = q.pos[0, 0, 0] - k.pos[0, 0, 0]
    nearest = jnp.maximum(apart - (S - 1), -(apart + T - 1))
  return Tile(q, k, r, nearest, plan.fully_visible[i, j]), place


def make_bias(encoding: Bound, tile: Tile) -> Any:
  q, k = swap_axes(tile.q), swap_axes(tile.k)
  return encoding.block_bias(q, k, tile.r, tile.nearest)


def score(
  how: Static, encoding: Bound, tile: Tile, s_BNTS: jax.Array, carry: Any
) -> tuple[jax.Array, Any]:
  """Returns the encoding's logits, the dtype's minimum if masked, and the carry after them."""
  bias = tile.bias if how.shared else make_bias(encoding, tile)
  pair = as_pair(how, tile, bias)
  s_BNTS, carry = encoding.score(s_BNTS, pair, carry)
  return jnp.where(pair.mask, s_BNTS, jnp.finfo(s_BNTS.dtype).min), carry


def output(
  how: Static, encoding: Bound, tile: Tile, o_BNTH: jax.Array, p_BNTS: jax.Array
) -> jax.Array:
  """Returns the contribution of these keys to the output."""
  pair = as_pair(how, tile, None)
  return encoding.output(o_BNTH.swapaxes(1, 2), p_BNTS, pair).swapaxes(1, 2)


def as_pair(how: Static, tile: Tile, bias: Any) -> Pair:
  q, k = swap_axes(tile.q), swap_axes(tile.k)
  mask = visible(q, k, causal=how.causal, window=how.window)
  return Pair(q, k, mask, bias, tile.fully_visible)


def over_rows(
  how: Static, update: Callable[..., tuple[Any, Any]], tile: Tile, state: Any, rows: Any = (),
  totals: Any = (),
) -> tuple[Any, Any]:
  """Runs `update(tile, state, rows, totals)` on all rows, or row by row; returns (state, totals).

  Leaves of `state`, `rows` and the tile's tokens have a leading axis of rows, or of size 1;
  `totals` has no axis of rows. The tile has a bias only if all rows share it.
  """
  B = len(tile.q.h)
  if not how.one_row or B == 1:
    return update(tile, state, rows, totals)

  def visit(b, sums):
    state, totals = sums
    own = lambda tree: jax.tree.map(
      lambda x: lax.dynamic_slice_in_dim(x, b, 1) if len(x) == B else x, tree
    )
    one = tile.replace(q=own(tile.q), k=own(tile.k))
    new, totals = update(one, own(state), own(rows), totals)
    write = lambda x, y: lax.dynamic_update_slice_in_dim(x, y, b, 0) if len(x) == B else y
    return jax.tree.map(write, state, new), totals

  return lax.fori_loop(0, B, visit, (state, totals))
