"""Kinds, counts, bytes and groups of collectives, in hand-written and in compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from posjax import collectives
from posjax.collectives import of_program
from tests.support.meshes import mesh_of


def program(line, rest=''):
  """Returns the text of a program with one instruction in its entry, after other computations."""
  entry = f'ENTRY %main (p: f32[8]) -> f32[8] {{\n  ROOT %x.1 = {line}\n}}\n'
  return f'HloModule jit_f, num_partitions=8\n\n{rest}\n{entry}'


PAIRS = '{{0,1},{1,2},{2,3},{3,0}}'


@pytest.mark.parametrize('line, kind, sent', [
  ('f32[16,4]{1,0} all-gather(%p), replica_groups=[2,4]<=[8], dimensions={0}', 'all-gather', 192),
  ('bf16[16]{0} all-reduce(%p), replica_groups=[2,4]<=[8], to_apply=%add', 'all-reduce', 48),
  ('f32[2]{0} reduce-scatter(%p), replica_groups=[2,4]<=[8], to_apply=%add', 'reduce-scatter', 24),
  ('pred[16]{0} all-to-all(%p), replica_groups=[2,4]<=[8]', 'all-to-all', 12),
  (f's4[16]{{0}} collective-permute(%p), source_target_pairs={PAIRS}', 'collective-permute', 8),
  # A tuple, with a comment as XLA prints it.
  ('(f32[8]{0}, f8e4m3fn[8]{0}, /*index=2*/s32[]) all-reduce(%p, %p), replica_groups={{0,1}}',
   'all-reduce', 44),
  # Asynchronous starts also hold the operand: 2 of 8 + 2 numbers, and two flags.
  ('(f32[2]{0}, f32[8]{0}) all-gather-start(%p), replica_groups=[2,4]<=[8]', 'all-gather', 24),
  (f'(f32[4], f32[4], u32[], u32[]) collective-permute-start(%p), source_target_pairs={PAIRS}',
   'collective-permute', 16),
  ('f32[4]{0} all-reduce-start(%p), replica_groups={}, to_apply=%add', 'all-reduce', 28),
])
def test_bytes_that_a_device_sends(line, kind, sent):
  (found,) = of_program(program(line), 8)
  assert (found.kind, found.sent, found.count, found.exact) == (kind, sent, 1, True)


@pytest.mark.parametrize('line', [
  'f32[8]{0} all-reduce(%p), replica_groups={{0},{1}}, to_apply=%add',
  'f32[8]{0} collective-permute(%p), source_target_pairs={{0,0},{1,1}}',
  'f32[8]{0} all-gather-done(%x.1)',
  'f32[8]{0} add(%p, %all-gather.1), metadata={op_name="jit(f)/all-gather"}',
])
def test_what_sends_nothing_is_left_out(line):
  assert of_program(program(line), 8) == []


@pytest.mark.parametrize('groups, expected', [
  ('{{0,4},{2,6},{1,5},{3,7}}', [[0, 4], [2, 6], [1, 5], [3, 7]]),
  ('[4,2]<=[8]', [[0, 1], [2, 3], [4, 5], [6, 7]]),
  ('[4,2]<=[2,2,2]T(2,1,0)', [[0, 4], [2, 6], [1, 5], [3, 7]]),
  ("mesh['a'=2,'b'=4] {'b'}", [[0, 1, 2, 3], [4, 5, 6, 7]]),
  ("mesh['a'=2,'b'=2,'c'=2] {'b'}", [[0, 2], [1, 3], [4, 6], [5, 7]]),
  ("mesh['a'=2,'b'=2,'c'=2] {'a','c'}", [[0, 1, 4, 5], [2, 3, 6, 7]]),
  ("mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}", [[0, 1], [2, 3], [4, 5], [6, 7]]),
  ('{}', [[0, 1, 2, 3, 4, 5, 6, 7]]),
])
def test_forms_of_groups(groups, expected):
  line = f'f32[8]{{0}} all-gather(%p), channel_id=1, replica_groups={groups}, dimensions={{0}}'
  (found,) = of_program(program(line), 8)
  np.testing.assert_array_equal(found.groups, expected)


BODIES = """
%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %s = f32[] add(%a, %b)
}

%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %r.1 = f32[4]{0} all-reduce(%p), replica_groups=[1,8]<=[8], to_apply=%add
}

%outer (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %w.1 = (s32[], f32[4]{0}) while(%p), condition=%done, body=%inner, LOOP
}

%done (p: (s32[], f32[4])) -> pred[] {
  ROOT %c = pred[] compare(%p, %p), direction=LT
}
"""
KNOWN = 'backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0","step":"1"}}'


@pytest.mark.parametrize('inner, count, exact', [(KNOWN, 15, True), ('metadata={}', 3, False)])
def test_loops_multiply(inner, count, exact):
  outer = KNOWN.replace('"5"', '"3"')
  line = f'(s32[], f32[4]) while(%p), condition=%done, body=%outer, {outer}'
  (found,) = of_program(program(line, rest=BODIES.replace('LOOP', inner)), 8)
  assert (found.kind, found.count, found.exact) == ('all-reduce', count, exact)
  assert found.total == count * 2 * 16 * 7 / 8


@pytest.mark.parametrize('branches', [
  'branch_computations={%done, %inner}', 'true_computation=%inner, false_computation=%done',
])
def test_of_branches_the_one_that_sends_most(branches):
  line = f'(s32[], f32[4]) conditional(%i, %p, %p), {branches}, metadata={{}}'
  (found,) = of_program(program(line, rest=BODIES), 8)
  assert found.kind == 'all-reduce' and found.count == 1


def test_bytes_out_of_a_node():
  gather = lambda groups: collectives.Collective('all-gather', 70, np.array(groups))
  ring = [(i, (i + 1) % 8) for i in range(8)]
  assert gather([[0, 1], [2, 3]]).across(4) == 0
  assert gather([[0, 4], [1, 5]]).across(4) == 70
  assert gather([[*range(8)]]).across(4) == 70 / 4  # four devices of a node share the network
  permute = collectives.Collective('collective-permute', 70, np.array(ring))
  assert permute.across(8) == 0 and permute.across(4) == 70


def compiled(function, shape, out=('seq',)):
  """Returns the collectives of `function` of the shards of an array over eight devices."""
  mapped = jax.shard_map(
    function, mesh=mesh_of(seq=8), in_specs=P('seq'), out_specs=P(*out), check_vma=False
  )
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  return of_program(jax.jit(mapped).lower(x).compile().as_text(), 8)


def test_compiled_sums_and_gathers():
  (found,) = compiled(lambda x: lax.psum(x, 'seq'), (8, 100), out=())
  assert (found.kind, found.count, found.sent) == ('all-reduce', 1, 2 * 400 * 7 / 8)
  (found,) = compiled(lambda x: lax.all_gather(x, 'seq', tiled=True), (8, 100), out=())
  assert (found.kind, found.count, found.sent) == ('all-gather', 1, 3200 * 7 / 8)
  (found,) = compiled(lambda x: lax.psum_scatter(x, 'seq', tiled=True), (64, 100))
  assert (found.kind, found.sent) == ('reduce-scatter', 400 * 7)
  (found,) = compiled(lambda x: lax.all_to_all(x, 'seq', 0, 0, tiled=True), (64, 100))
  assert (found.kind, found.sent) == ('all-to-all', 3200 * 7 / 8)
  assert found.groups.tolist() == [[*range(8)]]


def test_compiled_ring_in_nested_loops():
  ring = [(i, (i + 1) % 8) for i in range(8)]

  def turns(x):
    turn = lambda x, _: (jnp.sin(lax.ppermute(x, 'seq', ring)), None)
    round_ = lambda x, _: (lax.scan(turn, x, length=7)[0] * 2, None)
    return lax.scan(round_, x, length=3)[0]

  found = compiled(turns, (8, 100))
  assert {each.kind for each in found} == {'collective-permute'}
  assert sum(each.count for each in found) == 21 and all(each.exact for each in found)
  assert all(each.sent == 400 and each.groups.tolist() == [*map(list, ring)] for each in found)


def test_a_compiled_loop_of_unknown_length_counts_once():
  def until(x):
    more = lambda x: x[0, 0] < 100
    return lax.while_loop(more, lambda x: lax.psum(x, 'seq') + 1, x)

  found = compiled(until, (8, 100))
  assert [(each.kind, each.count, each.exact) for each in found] == [('all-reduce', 1, False)]
