"""The contract that every encoding passes. A file in posjax/encodings is under test by being there.

Its EXAMPLES, if any, list one or two encodings, {part: arguments} in the order of a chain, so small
that a length of 64 passes each clip, each switch and the end of each table. Otherwise the example
is the class with its defaults. All weights are drawn at random: a table of zeros encodes nothing,
and would pass every test.
Further parts of the contract: test_equations.py, test_traits.py, test_cache.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from posjax import sharding
from posjax.encodings import Positions
from posjax.encodings.core.declarations import each
from tests.oracles import attention as oracle
from tests.support.meshes import mesh_of
from tests.support.problem import (
  CAPACITY,
  CAUSAL,
  DIMS,
  FIVES,
  REFERENCE,
  attention,
  close,
  dims_of,
  draw,
  masks,
  place,
  problem,
  segments,
  solver,
  summed,
)

pytestmark = pytest.mark.usefixtures('float64')


def test_blockwise_equals_reference(encoding):
  *_, answers = problem(encoding)
  for reference, blockwise in answers.values():
    close(blockwise, reference)


def test_gradients_are_zero_exactly_where_nothing_is_seen(encoding):
  _, at, _, answers = problem(encoding)
  ends = at.order, at.order, at.segment_ids, at.segment_ids
  for name, (mask, _) in masks(encoding).items():
    sight = oracle.visible(*ends, **mask).swapaxes(0, 1)  # [T, B, S]
    itself = np.broadcast_to(np.eye(12, dtype=bool)[:, None], sight.shape)
    scored = sight if encoding.sees_itself else sight & ~itself
    # A softmax over a single key does not depend on its score.
    choice = scored.sum(axis=-1, keepdims=True) > (encoding.normalizer == 'softmax')
    read, own = (reached(x, at.segment_ids, encoding.reach) for x in (scored, itself))
    for _, gradient in answers[name]:
      size = {part: np.abs(gradient[part]).sum(axis=-1) for part in 'qkv'}
      size['v'] = size['v'].sum(axis=-1)
      # Where no query scores itself, the remainder may go to its own value.
      gathered = sight if encoding.sees_itself else sight | itself
      assert not size['v'][~gathered].any() and size['v'][scored].min() > 1e-9
      assert not size['k'][~read].any() and size['k'][scored & choice].min() > 1e-9
      assert not size['q'][~own].any() and size['q'][itself & choice].min() > 1e-9


def reached(sight, segment_ids, reach):
  """Returns tokens that are seen, or read by features of a seen token: up to `reach` before it."""
  read = sight.copy()
  for n in range(1, min(reach, sight.shape[-1] - 1) + 1):
    same = segment_ids[:, n:] == segment_ids[:, :-n]
    read[..., :-n] |= sight[..., n:] & np.asarray(same)
  return read


def test_packed_documents_equal_documents_alone(encoding):
  """Row 0 packs three documents; each other row holds one of them within padding."""
  segment_ids = segments('000001112222', '00000.......', '.........111', '....2222....')
  spans = [
    (1, slice(0, 5), slice(0, 5)),
    (2, slice(5, 8), slice(9, 12)),
    (3, slice(8, 12), slice(4, 8)),
  ]
  inputs, _, r_BTNH, _ = problem(encoding)
  at = place(encoding, segment_ids)
  parts = jax.tree.map(np.array, dict(inputs, pos=at.pos, ids=at.ids, r=r_BTNH))
  for row, packed, alone in spans:
    for x in (parts[part] for part in ('q', 'k', 'v', 'pos', 'ids', 'r')):
      x[row, alone] = x[0, packed]
  parts = jax.tree.map(jnp.asarray, parts)
  at, r_BTNH = at.replace(pos=parts.pop('pos'), ids=parts.pop('ids')), parts.pop('r')
  answers = solver(encoding)(parts, at, r_BTNH)
  for o, gradient in (answer for both in answers.values() for answer in both):
    for row, packed, alone in spans:
      close(o[row, alone], o[0, packed])
      for part in 'qkv':
        close(gradient[part][alone, row, alone], gradient[part][packed, 0, packed])


def test_padding_may_hold_anything(encoding):
  """NaN at padding, in every input, changes no token's output and no token's gradient."""
  inputs, at, r_BTNH, answers = problem(encoding)
  real = np.asarray(at.segment_ids >= 0)

  def poison(x):
    return jnp.where(real.reshape(*real.shape, *[1] * (x.ndim - 2)), x, jnp.nan)

  poisoned = solver(encoding)(inputs | {x: poison(inputs[x]) for x in 'qkv'}, at, r_BTNH)
  for got, want in zip(*map(jax.tree.leaves, (poisoned, answers)), strict=True):
    assert got.shape == want.shape
  for name in masks(encoding):
    for (got, d_got), (want, d_want) in zip(poisoned[name], answers[name], strict=True):
      close(got, want)
      close(d_got['v'], d_want['v'])
      for part in 'qk':
        close(d_got[part][:, real], d_want[part][:, real])


def test_shift_invariance_is_as_declared(encoding):
  inputs, at, r_BTNH, answers = problem(encoding)
  shift = 17.25 if not encoding.whole_positions else 17
  moved = solver(encoding)(inputs, at.replace(pos=at.pos + shift), r_BTNH)
  for name in masks(encoding):
    for (got, _), (want, _) in zip(moved[name], answers[name], strict=True):
      if encoding.shift_invariant:
        close(got, want)
      else:
        assert np.abs(got - want).max() > 0.1


def test_gradients_equal_finite_differences(encoding):
  inputs, at, r_BTNH, answers = problem(encoding)
  rng = np.random.default_rng(3)
  leaves, tree = jax.tree.flatten(inputs)
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(inputs)]
  for i, leaf in enumerate(leaves):
    inert = '/'.join(key.key for key in paths[i][1:]) in encoding.inert
    step = 1e-5 * rng.normal(size=leaf.shape)
    ends = []
    for sign in (1, -1):
      there = tree.unflatten([*leaves[:i], leaf + sign * step, *leaves[i + 1 :]])
      ends.append(solver(encoding)(there, at, r_BTNH))
    for name in masks(encoding):
      after, before = (summed(end[name][0], r_BTNH)[0] for end in ends)
      gradient = jax.tree.leaves(summed(answers[name][0], r_BTNH)[1])[i]
      assert inert or np.abs(gradient).max() > 1e-3
      if inert:
        close(gradient, jnp.zeros_like(gradient))
      close(after - before, 2 * jnp.sum(gradient * step), rtol=1e-6, atol=1e-11)


@pytest.mark.slow
def test_transformations_keep_the_numbers(encoding):
  """Combines scan, remat and vmap, over problems in order and in reverse order."""
  inputs, at, r_BTNH, _ = problem(encoding)
  problems = [inputs, draw(encoding, seed=4), draw(encoding, seed=5)]
  stack = jax.tree.map(lambda *x: jnp.stack(x), *problems)

  @jax.checkpoint
  def solve(inputs):
    return attention(encoding, inputs, at, at, **CAUSAL, **FIVES)

  @jax.jit
  def transform(stack):
    grad = jax.value_and_grad(lambda inputs: jnp.sum(r_BTNH * solve(inputs)))
    step = lambda _, inputs: (None, grad(inputs))
    both = jax.tree.map(lambda x: jnp.stack([x, x[::-1]]), stack)
    return jax.vmap(lambda stack: jax.lax.scan(step, None, stack)[1])(both)

  found = transform(stack)
  want = [summed(solver(encoding)(p, at, r_BTNH)['causal'][0], r_BTNH) for p in problems]
  want = jax.tree.map(lambda *x: jnp.stack(x), *want)
  close(found, jax.tree.map(lambda x: jnp.stack([x, x[::-1]]), want))


def test_eight_devices_give_the_same_numbers(encoding):
  """Shards rows over data and fsdp, weights as sharding.py does, and finally heads over tensor.

  The width of the streams is not sharded, as in the model: with it on `tensor` and a weight's width
  on `fsdp`, XLA's partitioner computes wrong gradients (jax 0.10.2 to 0.12.0.1, shown in two
  lines).
  """
  inputs, at, r_BTNH, answers = problem(encoding)
  mesh = mesh_of(2, 2, 2)

  def put(x, *axes):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(sharding.AXES['B'], *axes)))

  spread = {part: put(inputs[part]) for part in 'qk'}
  spread['v'] = put(inputs['v'], None, 'tensor')
  weights = inputs['weights']
  spread['weights'] = jax.device_put(weights, sharding.state_sharding(weights, mesh))

  @jax.jit
  def solve(inputs, at, r_BTNH):
    def loss(inputs):
      o = attention(encoding, inputs, at, at, **CAUSAL, **FIVES)
      return jnp.sum(r_BTNH * o), o

    return jax.value_and_grad(loss, has_aux=True)(inputs)

  with jax.set_mesh(mesh):
    (loss, o), gradient = solve(spread, put(at), put(r_BTNH, None, 'tensor'))
  assert len({str(shard.index) for shard in o.addressable_shards}) == 8
  close((loss, gradient), summed(answers['causal'][0], r_BTNH))


def far(last, axes):
  """Returns queries up to `last` on all axes; half of the keys near them, half from 0 on."""
  q_pos = last - np.arange(12)[::-1]
  k_pos = np.concatenate([np.linspace(0, last - 12, 6).round(), q_pos[::2]])
  at = lambda pos: Positions(
    jnp.tile(jnp.int64(pos)[None, :, None], axes), jnp.int64(pos)[None],
    jnp.zeros((1, 12), jnp.int64), ids=jnp.int64(pos)[None] % DIMS.V,
  )
  return at(q_pos), at(k_pos)


def test_bfloat16_far_out(encoding, request):
  """Inputs, products and outputs are each rounded, with a relative error of at most 2^-9."""
  inputs = draw(encoding, batch=1)
  narrow = jax.tree.map(jnp.bfloat16, inputs)
  narrow['weights'] = jax.tree.map(jnp.float32, inputs['weights'])
  exact = jax.tree.map(jnp.float64, narrow)
  solve = functools.partial(attention, encoding)
  want = jax.jit(functools.partial(solve, **REFERENCE))
  got = jax.jit(lambda *args: [solve(*args, **way) for way in (REFERENCE, FIVES)])
  # A million is only reported: print it with -rP.
  end = min(*each(encoding.limit or 0, 1), CAPACITY) - 1
  axes = dims_of(encoding).P
  reach = (131_072, 1_000_000) if axes == 1 else (4096, 1_000_000)
  for last in reach if encoding.limit is None else (end,):
    places = far(last, axes)
    right, places = want(exact, *places), jax.tree.map(np.int32, places)
    with jax.enable_x64(False):
      found = got(narrow, *places)
    for o, way in zip(found, ('reference', 'blockwise'), strict=True):
      assert o.dtype == jnp.bfloat16
      error = np.abs(jnp.float64(o) - right).max() / np.abs(right).max()
      print(f'{request.node.name}: error {error:.1e} at position {last}, {way}')
      assert error < 2**-6 or last == 1_000_000
