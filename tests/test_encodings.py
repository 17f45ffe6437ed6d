"""The contract that every encoding passes. A file in posjax/encodings is under test by being there.

Its function `examples()`, if any, names at most two encodings, so small that a length of 64 passes
each clip, each switch and the end of each table; else the class as it stands is the example. All
weights are drawn at random: a table that is still 0 is no encoding, and would pass everything.
Cached decoding, also part of the contract, is in test_cache.py.
"""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from posjax import encodings, sharding
from posjax.encodings import At
from tests.oracles import attention as oracle
from tests.problem import (
  CAUSAL,
  DIMS,
  FIVES,
  FOURS,
  MASKS,
  REFERENCE,
  attention,
  close,
  draw,
  heads,
  jit,
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
  for name, (mask, _) in MASKS.items():
    sight = oracle.visible(*ends, **mask).swapaxes(0, 1)  # [T, B, S]
    itself = np.broadcast_to(np.eye(12, dtype=bool)[:, None], sight.shape)
    # A softmax over one key does not depend on its score.
    choice = sight.sum(axis=-1, keepdims=True) > 1
    for _, gradient in answers[name]:
      size = {part: np.abs(gradient[part]).sum(axis=-1) for part in 'qkv'}
      size['v'] = size['v'].sum(axis=-1)
      for part, pairs in [('v', sight), ('k', sight), ('q', itself)]:
        assert not size[part][~pairs].any()
        assert size[part][pairs if part == 'v' else pairs & choice].min() > 1e-9


def test_packed_documents_are_as_alone(encoding):
  """Row 0 packs three documents; each of the other rows holds one of them amid padding."""
  segment_ids = segments('000001112222', '00000.......', '.........111', '....2222....')
  spans = [
    (1, slice(0, 5), slice(0, 5)),
    (2, slice(5, 8), slice(9, 12)),
    (3, slice(8, 12), slice(4, 8)),
  ]
  inputs, _, r_BTNH, _ = problem(encoding)
  at = place(encoding, segment_ids)
  parts = jax.tree.map(np.array, dict(inputs, pos=at.pos, r=r_BTNH))
  for row, packed, alone in spans:
    for x in (parts[part] for part in ('q', 'k', 'v', 'pos', 'r')):
      x[row, alone] = x[0, packed]
  parts = jax.tree.map(jnp.asarray, parts)
  at, r_BTNH = at.replace(pos=parts.pop('pos')), parts.pop('r')
  answers = solver(encoding)(parts, at, r_BTNH)
  for o, gradient in (answer for both in answers.values() for answer in both):
    for row, packed, alone in spans:
      close(o[row, alone], o[0, packed])
      for part in 'qkv':
        close(gradient[part][alone, row, alone], gradient[part][packed, 0, packed])


def test_shift_changes_what_it_is_declared_to_change(encoding):
  inputs, at, r_BTNH, answers = problem(encoding)
  shift = 17.25 if not encoding.whole_positions else 17
  moved = solver(encoding)(inputs, at.replace(pos=at.pos + shift), r_BTNH)
  for name in MASKS:
    for (got, _), (want, _) in zip(moved[name], answers[name], strict=True):
      if encoding.shift_invariant:
        close(got, want)
      else:
        assert np.abs(got - want).max() > 0.1


def test_gradients_equal_finite_differences(encoding):
  inputs, at, r_BTNH, answers = problem(encoding)
  rng = np.random.default_rng(3)
  leaves, tree = jax.tree.flatten(inputs)
  for i, leaf in enumerate(leaves):
    step = 1e-5 * rng.normal(size=leaf.shape)
    ends = []
    for sign in (1, -1):
      there = tree.unflatten([*leaves[:i], leaf + sign * step, *leaves[i + 1 :]])
      ends.append(solver(encoding)(there, at, r_BTNH))
    for name in MASKS:
      after, before = (summed(end[name][0], r_BTNH)[0] for end in ends)
      gradient = jax.tree.leaves(summed(answers[name][0], r_BTNH)[1])[i]
      assert np.abs(gradient).max() > 0.1
      close(after - before, 2 * jnp.sum(gradient * step), rtol=1e-6, atol=1e-11)


def test_transformations_keep_the_numbers(encoding):
  inputs, at, r_BTNH, _ = problem(encoding)
  problems = [inputs, draw(encoding, seed=4), draw(encoding, seed=5)]

  def loss(inputs, *, wrap=lambda f: f, **way):
    f = wrap(lambda inputs: attention(encoding, inputs, at, at, **CAUSAL, **way))
    return jnp.sum(r_BTNH * f(inputs))

  blockwise = jax.value_and_grad(functools.partial(loss, **FIVES))
  rematted = jax.value_and_grad(functools.partial(loss, wrap=jax.checkpoint, **REFERENCE))

  @jit
  def transform(stack):
    step = lambda _, inputs: (None, rematted(inputs))
    return jax.vmap(blockwise)(stack), jax.lax.scan(step, None, stack)[1]

  found = transform(jax.tree.map(lambda *x: jnp.stack(x), *problems))
  want = [summed(solver(encoding)(p, at, r_BTNH)['causal'][0], r_BTNH) for p in problems]
  want = jax.tree.map(lambda *x: jnp.stack(x), *want)
  for got in found:
    close(got, want)
  close(loss(inputs, **REFERENCE), want[0][0])  # without jit


def test_eight_devices_give_the_same_numbers(encoding):
  """Rows over data and fsdp, heads over tensor, weights where sharding.py puts them."""
  inputs, at, r_BTNH, answers = problem(encoding)
  mesh = sharding.make_mesh((2, 2, 2))

  def put(x, *axes):
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(sharding.AXES['B'], *axes)))

  spread = {part: put(inputs[part], None, 'tensor') for part in 'qkv'}
  weights = inputs['weights']
  spread['weights'] = jax.device_put(weights, sharding.of_state(weights, mesh))

  @jit
  def solve(inputs, at, r_BTNH):
    def loss(inputs):
      o = attention(encoding, inputs, at, at, **CAUSAL, **FIVES)
      return jnp.sum(r_BTNH * o), o

    return jax.value_and_grad(loss, has_aux=True)(inputs)

  (loss, o), gradient = solve(spread, put(at), put(r_BTNH, None, 'tensor'))
  assert len({str(shard.index) for shard in o.addressable_shards}) == 8
  close((loss, gradient), summed(answers['causal'][0], r_BTNH))


def far(last):
  """Queries up to position `last`; half of the keys among them, half from 0 on."""
  q_pos = last - np.arange(12)[::-1]
  k_pos = np.concatenate([np.linspace(0, last - 12, 6).round(), q_pos[::2]])
  order = jnp.arange(12)[None]
  at = At(jnp.asarray(q_pos[None, :, None]), order, jnp.zeros_like(order))
  return at, at.replace(pos=jnp.asarray(k_pos[None, :, None], at.pos.dtype))


def test_bfloat16_far_out(encoding, request):
  """Inputs, products and outputs are each rounded, by 2^-9 of themselves at most."""
  inputs = draw(encoding, batch=1)
  narrow = jax.tree.map(jnp.bfloat16, inputs)
  narrow['weights'] = jax.tree.map(jnp.float32, inputs['weights'])
  exact = jax.tree.map(jnp.float64, narrow)
  solve = jit(functools.partial(attention, encoding, causal=False), static_argnames=FIVES)
  # A million is for the record: print it with -rP.
  for last in (131_072, 1_000_000) if encoding.limit is None else (encoding.limit - 1,):
    want = solve(exact, *far(last), **REFERENCE)
    for way in (REFERENCE, FIVES):
      with jax.enable_x64(False):
        got = solve(narrow, *jax.tree.map(jnp.int32, far(last)), **way)
      assert got.dtype == jnp.bfloat16
      error = np.abs(jnp.float64(got) - want).max() / np.abs(want).max()
      print(f'{request.node.name}: error {error:.1e} at position {last}, {way["implementation"]}')
      assert error < 2**-6 or last == 1_000_000


def oracle_path(encoding):
  return pathlib.Path(oracle.__file__).with_name(f'{encodings.name_of(encoding)}.py')


def oracle_of(encoding):
  if not oracle_path(encoding).exists():
    pytest.skip('there is no oracle, see test_an_oracle_exists')
  return importlib.import_module(f'tests.oracles.{encodings.name_of(encoding)}')


def follow(encoding, inputs, at_q, at_k, **mask):
  """The oracle's answer to what `attention` computes, and who sees whom."""
  module = oracle_of(encoding)
  x, ends = jax.tree.map(np.asarray, (inputs, (at_q, at_k)))
  # The oracles take a place for each row.
  at_q, at_k = jax.tree.map(lambda a: np.broadcast_to(a, (len(x['q']), *a.shape[1:])), ends)
  where = dict(args=encodings.arguments(encoding), weights=x['weights'])
  q_pos, k_pos = at_q.pos[..., 0], at_k.pos[..., 0]
  q_BTNH = heads(module.embed(x['q'], q_pos, **where), DIMS.N) / DIMS.H**0.5
  k_BSKH = heads(module.embed(x['k'], k_pos, **where), DIMS.K)
  seen = oracle.visible(at_q.order, at_k.order, at_q.segment_ids, at_k.segment_ids, **mask)
  return module.attend(q_BTNH, k_BSKH, x['v'], q_pos, k_pos, seen, **where), seen


def test_an_oracle_exists(encoding):
  path = oracle_path(encoding)
  assert path.exists(), f'write tests/oracles/{path.name}, the equation in NumPy loops'


@pytest.mark.parametrize('mask', MASKS)
def test_self_attention_equals_the_oracle(encoding, mask):
  oracle_of(encoding)
  inputs, at, _, answers = problem(encoding)
  want, seen = follow(encoding, inputs, at, at, **MASKS[mask][0])
  assert not seen[2, :3].any() and not want[2, :3].any()  # padding sees nothing
  for o, _ in answers[mask]:
    close(o, want, rtol=1e-10, atol=1e-10)


def test_cross_attention_equals_the_oracle(encoding):
  """Seven queries, eleven keys, places that all rows share, and two queries that see nothing."""
  oracle_of(encoding)
  inputs = draw(encoding, batch=2, queries=7, keys=11)
  at_k = place(encoding, segments('00000.11112'), seed=6)
  at_q = place(encoding, segments('0011.32'), seed=7)
  at_q = at_q.replace(order=at_q.order + 4)

  @jit
  def solve(inputs, at_q, at_k):
    return {
      name: attention(encoding, inputs, at_q, at_k, **mask, **FOURS)
      for name, (mask, _) in MASKS.items()
    } | {'both sides at once': attention(encoding, inputs, at_q, at_k, causal=False, **REFERENCE)}

  found = solve(inputs, at_q, at_k)
  for name, (mask, _) in MASKS.items():
    want, seen = follow(encoding, inputs, at_q, at_k, **mask)
    assert not seen[:, 4:6].any() and not want[:, 4:6].any() and seen[:, :4].any()
    close(found[name], want, rtol=1e-10, atol=1e-10)
    if name == 'both sides':
      close(found['both sides at once'], want, rtol=1e-10, atol=1e-10)
