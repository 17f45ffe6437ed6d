"""Shardings of weights, moments and rows, and errors for meshes that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from posjax import config as config_lib
from posjax import sharding, state
from posjax.batch import Batch, Stream
from posjax.dims import Dims
from posjax.encodings.learned import Learned
from posjax.errors import UserError
from posjax.models.pattern import Pattern
from posjax.models.settings import HeadSettings
from posjax.models.transformer import Transformer, init
from posjax.optimizer import make_optimizer
from tests.support.meshes import mesh_of

DIMS = Dims(D=32, N=4, K=2, H=8, F=48, V=17)

# Weights of a layer have an axis of layers in front, which is not sharded.
SPECS = {
  'table_VD': (None, 'fsdp'),
  'head_DV': ('fsdp', None),
  'table_RD': (None, 'fsdp'),
  'query_DNH': (None, 'fsdp', 'tensor', None),
  'key_DKH': (None, 'fsdp', 'tensor', None),
  'value_DKH': (None, 'fsdp', 'tensor', None),
  'output_NHD': (None, 'tensor', None, 'fsdp'),
  'up_DF': (None, 'fsdp', 'tensor'),
  'gate_DF': (None, 'fsdp', 'tensor'),
  'down_FD': (None, 'tensor', 'fsdp'),
  'scale': (),
}


def abstract_params():
  model = Transformer(
    Pattern((Learned(length=64).with_dims(DIMS),)), vocabulary=17, dim=32, layers=2, heads=4,
    kv_heads=2, head_dim=8, hidden=48, head=HeadSettings(tied=False),
  )
  return jax.eval_shape(lambda: init(model, jax.random.key(0)))


def check_specs(params, shardings, mesh):
  seen = set()
  leaves = zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(shardings), strict=True)
  for (path, leaf), found in leaves:
    name = path[-1].key
    expected = NamedSharding(mesh, PartitionSpec(*SPECS[name]))
    assert found.is_equivalent_to(expected, leaf.ndim), (path, found.spec)
    found.shard_shape(leaf.shape)  # raises if an axis does not divide
    seen.add(name)
  assert seen == SPECS.keys()


def test_weights_and_moments_are_sharded_by_their_letters():
  mesh = mesh_of(2, 2, 2)
  params = abstract_params()
  check_specs(params, sharding.state_sharding(params, mesh), mesh)
  adamw = make_optimizer(1e-3, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0)
  state = jax.eval_shape(adamw.init, params)
  places = sharding.state_sharding(state, mesh)
  for moment in ('mu', 'nu'):
    check_specs(params, optax.tree_utils.tree_get(places, moment), mesh)
  counts = [x for x in jax.tree.leaves(state) if not x.ndim]
  alone = [x for x in jax.tree.leaves(places) if x.spec == PartitionSpec()]
  assert len(alone) == len(counts) > 0


def test_a_mesh_axis_shards_only_the_first_matching_letter():
  """Weights of a single layer have no L axis."""
  mesh = mesh_of(2, 2, 2)
  tree = {'pair_NK': jnp.zeros((4, 2)), 'gate_LDN': jnp.zeros((32, 4))}
  specs = jax.tree.map(lambda x: x.spec, sharding.state_sharding(tree, mesh))
  assert specs == {
    'pair_NK': PartitionSpec('tensor', None), 'gate_LDN': PartitionSpec('fsdp', 'tensor')
  }


def test_rows_of_a_batch_are_sharded_over_data_and_fsdp():
  mesh = mesh_of(2, 2, 2)
  rows = np.arange(24).reshape(8, 3)
  placed = sharding.shard_batch(Batch(Stream(rows), 2 * rows, rows > 2), mesh)
  for x, want in ((placed.stream.x, rows), (placed.targets, 2 * rows), (placed.weights, rows > 2)):
    assert x.sharding.spec == PartitionSpec(('data', 'fsdp'))
    for (data, fsdp, *_), device in np.ndenumerate(mesh.devices):
      [mine] = [shard.data for shard in x.addressable_shards if shard.device == device]
      np.testing.assert_array_equal(mine, want[4 * data + 2 * fsdp :][:2])
  assert placed.stream.pos is None


def test_activations_are_sharded_like_rows_and_a_table_is_replicated():
  mesh = mesh_of(2, 2, 2)
  by_width = NamedSharding(mesh, PartitionSpec(None, 'fsdp'))
  x, odd = (jax.device_put(jnp.zeros((rows, 4)), by_width) for rows in (8, 6))
  with jax.set_mesh(mesh):
    solve = jax.jit(lambda *x: [*map(sharding.constrain_batch, x), sharding.replicated(x[0])])
    spread, left, whole = solve(x, odd)
  assert spread.sharding.is_equivalent_to(sharding.batch_sharding(mesh), 2)
  assert left.sharding.is_equivalent_to(by_width, 2)  # six rows on four devices
  assert whole.sharding.is_fully_replicated
  assert sharding.constrain_batch(x) is sharding.replicated(x) is x  # without a mesh


def by_axis(sizes):
  return dict(zip(sharding.MESH_AXES, sizes, strict=True))


def test_minus_one_takes_all_remaining_devices():
  for given, taken in (((-1, 2, 1, 2), (2, 2, 1, 2)), ((1, -1, 2, 1), (1, 4, 2, 1))):
    mesh = sharding.make_mesh(**by_axis(given))
    assert dict(mesh.shape) == by_axis(taken)
  mesh = sharding.make_mesh(jax.devices()[:2], **by_axis((2, 1, 1, -1)))
  assert mesh.devices.shape == (2, 1, 1, 1) and list(mesh.devices.flat) == jax.devices()[:2]


@pytest.mark.parametrize(
  'shape, number',
  [((2, 2, 1, 1), 4), ((4, 2, 1, 2), 16), ((3, -1, 1, 1), 3), ((16, -1, 1, 1), 16)],
)
def test_mesh_of_another_number_of_devices_is_refused(shape, number):
  with pytest.raises(UserError) as error:
    sharding.make_mesh(**by_axis(shape))
  data, fsdp, seq, tensor = shape
  assert str(error.value) == (
    f'mesh.data = {data}, mesh.fsdp = {fsdp}, mesh.seq = {seq}, mesh.tensor = {tensor}: {number} '
    'devices, but the machine has 8; -1 uses all remaining devices, such as mesh.data=-1'
  )


@pytest.mark.parametrize(
  'mesh, key, size, parts, axes, valid',
  [
    ((1, 1, 8), 'model.heads', 4, 8, 'tensor', 8),
    ((2, 1, 4), 'model.kv_heads', 2, 4, 'tensor', 4),
    ((4, 1, 2), 'model.hidden', 45, 2, 'tensor', 46),
    ((2, 4, 1), 'model.dim', 30, 4, 'fsdp', 32),
    ((4, 2, 1), 'train.batch / train.accumulate', 12, 8, 'data and fsdp', 16),
    ((1, 2, 1, 4), 'train.length', 62, 4, 'seq', 64),
  ],
)
def test_sizes_that_a_mesh_does_not_divide_are_refused(mesh, key, size, parts, axes, valid):
  mesh = mesh_of(*mesh)
  sizes = {
    'model.dim': 32, 'model.heads': 8, 'model.kv_heads': 8, 'model.hidden': 48,
    'train.batch / train.accumulate': 8, 'train.length': 64,
  }

  def check(**change):
    D, N, K, F, rows, length = (sizes | change).values()
    sharding.check(mesh, Dims(D=D, N=N, K=K, H=8, F=F), rows, length)

  check()
  with pytest.raises(UserError) as error:
    check(**{key: size})
  assert str(error.value) == (
    f'{key} = {size}: must be a multiple of the {parts} devices along {axes}, such as {valid}; '
    'or change the mesh'
  )


def test_the_rows_of_a_microbatch_are_sharded():
  settings = 'mesh.data=8', 'train.batch=16', 'train.accumulate=4'
  config, _, _ = config_lib.load('rope', [f'--config.{setting}' for setting in settings])
  with pytest.raises(UserError, match='^train.batch / train.accumulate = 4: .* the 8 devices '):
    state.setup(config)
