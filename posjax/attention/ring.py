"""Ring attention: the tokens of a row are sharded over devices, and keys travel round a ring.

Liu et al. 2023, "Ring attention with blockwise transformers", arXiv 2310.01889. Device r of n holds
the queries and keys r T/n to (r + 1) T/n - 1 of each row. In turn t it adds the keys of device
r - t to the running sums of its queries, block by block as in blockwise/. Then it passes these keys
to device r + 1. So keys arrive in descending order, as a carry requires, and a device holds at most
two shards of keys. Without a causal mask, the shards of later keys follow the earlier ones.

In the backward pass keys travel the other way, the farthest first, together with their gradients,
which are complete when they are back home. Each device stores its queries, keys, outputs and L, and
the carry before each turn.

The shard_map is manual over the mesh axis `seq` alone. Inside it the compiler still shards rows
over data and fsdp, and heads over tensor, so that hooks see the same shapes as on one device.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from posjax.attention.blockwise import absorb, gradients, in_blocks, settle, start, trees
from posjax.attention.blockwise.tile import Static, distance_tables, make_plan
from posjax.encodings import AttentionInput, Bound

AXIS = 'seq'


def shards() -> int:
  """Returns over how many devices the mesh in force shards the tokens of a row."""
  return jax.sharding.get_abstract_mesh().shape.get(AXIS, 1)


def sharded(T: int, S: int) -> bool:
  """Returns whether the mesh in force shards T queries and S keys alike."""
  return shards() > 1 and T == S and T % shards() == 0


def ring_attention(
  q: AttentionInput, k: AttentionInput, encoding: Bound, *, causal: bool, window: int, block: int
) -> jax.Array:
  """Returns what `blockwise` does; tokens are sharded over the mesh axis `seq`, which divides T."""
  turns = shards()
  if causal and window:  # `order` counts tokens by one, so farther shards have no visible key
    own = q.h.shape[1] // turns
    turns = min(turns, 1 + -(-(window - 1) // own))

  def attend_shard(q, k, encoding):
    blocks = functools.partial(travel, turns)
    return in_blocks(blocks, q, k, encoding, causal=causal, window=window, block=block)

  tokens = PartitionSpec(None, AXIS)
  # Not checked: an encoding need not know that an array of zeros is the same on all devices.
  on_shards = jax.shard_map(
    attend_shard, in_specs=(tokens, tokens, PartitionSpec()), out_specs=tokens, axis_names={AXIS},
    check_vma=False,
  )
  return on_shards(q, k, encoding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def travel(
  turns: int, how: Static, encoding: Bound, q: AttentionInput, k: AttentionInput, carry: Any
) -> tuple[jax.Array, Any]:
  """Returns blocks of outputs and the final carries of one device's queries, over all keys."""
  o_BNTH, _, carry, _ = forward(turns, how, encoding, q, k, carry)
  return o_BNTH, carry


def forward(
  turns: int, how: Static, encoding: Bound, q: AttentionInput, k: AttentionInput, carry: Any
) -> tuple[jax.Array, jax.Array, Any, Any]:
  """Returns outputs, L, the final carries, and the carries before each turn after the first."""

  def visit(k, sums):
    r, plan = distance_tables(q, k, encoding), make_plan(how, q, k)
    one = lambda i: absorb(how, plan, encoding, q, k, r, i, trees.take(sums, i))
    return lax.map(one, jnp.arange(len(q.h)))

  def turn(state, _):
    k, sums = state
    k = shift(k, 1)
    return (k, visit(k, sums)), sums[-1]

  first = k, visit(k, start(how, q, k, carry))
  (_, sums), entering = lax.scan(turn, first, length=turns - 1)
  return *settle(how, sums), entering


def keep(
  turns: int, how: Static, encoding: Bound, q: AttentionInput, k: AttentionInput, carry: Any
) -> tuple[tuple[jax.Array, Any], tuple]:
  o_BNTH, L_BNT, after, entering = forward(turns, how, encoding, q, k, carry)
  return (o_BNTH, after), (encoding, q, k, carry, o_BNTH, L_BNT, entering)


def backward(turns: int, how: Static, kept: tuple, cotangents: tuple[jax.Array, Any]) -> tuple:
  """Returns the gradients of the arguments of `travel`."""
  encoding, q, k, carry, o_BNTH, L_BNT, entering = kept
  do_BNTH, dcarry = cotangents

  def pull(sums, k, carry):
    """Adds the gradients of the turn in which the device had the keys `k`."""
    (dencoding, dq), dk, dcarry = sums
    r, pull_r = trees.vjp(lambda encoding: distance_tables(q, k, encoding), encoding)
    of_turn = gradients(how, (encoding, q, k, r, carry, o_BNTH, L_BNT), (do_BNTH, dcarry))
    dencoding_t, dq_t, dk_t, dr, dcarry = of_turn
    (through_r,) = pull_r(trees.like(dr, trees.floats(r)))
    totals = trees.add((dencoding, dq), (trees.add(dencoding_t, through_r), dq_t))
    return totals, trees.add(dk, dk_t), trees.like(dcarry, trees.floats(carry))

  def turn(state, carry):
    k, sums = state
    totals, dk, dcarry = pull(sums, k, carry)
    k, dk = shift((k, dk), -1)
    return (k, (totals, dk, dcarry)), None

  zeros = trees.zeros(trees.floats(((encoding, q), k)))
  state = shift(k, turns - 1), (*zeros, dcarry)
  (_, sums), _ = lax.scan(turn, state, entering, length=turns - 1, reverse=True)
  (dencoding, dq), dk, dcarry = pull(sums, k, carry)
  return trees.like((dencoding, dq, dk, dcarry), trees.floats((encoding, q, k, carry)))


def shift(tree: Any, by: int) -> Any:
  """Sends each leaf to the device `by` places further round the ring."""
  n = shards()
  pairs = [(i, (i + by) % n) for i in range(n)]
  return jax.tree.map(lambda x: lax.ppermute(x, AXIS, pairs), tree)


travel.defvjp(keep, backward)
