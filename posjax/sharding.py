"""Devices to a mesh, and letters to its axes: the one table that says where an array lies.

The mesh has the axes (data, fsdp, tensor), all Auto: the compiler propagates shardings and inserts
the communication. Rows of a batch are spread over data and fsdp together; a weight over fsdp and
tensor by the letters its name ends in, whichever tree it is part of: the moments of AdamW lie where
their weights do.
"""

import math

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from posjax.dims import letters
from posjax.errors import UserError

MESH_AXES = ('data', 'fsdp', 'tensor')

# H, R and a stacked axis of layers are never sharded. Nor is V: a token table sharded on both of
# its axes would be gathered whole for every look-up.
AXES = {'B': ('data', 'fsdp'), 'D': 'fsdp', 'N': 'tensor', 'K': 'tensor', 'F': 'tensor'}


def make_mesh(devices=None, **shape):
  """The mesh of `shape`, devices along data, fsdp and tensor; -1 takes all that are left.

  Raises:
    UserError: the shape does not use all devices.
  """
  devices = jax.devices() if devices is None else devices
  known = math.prod(n for n in shape.values() if n != -1)
  sizes = tuple(len(devices) // known if shape[a] == -1 else shape[a] for a in MESH_AXES)
  if math.prod(sizes) != len(devices):
    axes = ', '.join(f'mesh.{axis} = {n}' for axis, n in shape.items())
    raise UserError(
      f'{axes}: {known} devices, and the machine has {len(devices)}; -1 takes all that are left, '
      'such as mesh.data=-1'
    )
  return jax.make_mesh(
    sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES), devices=devices
  )


def check(mesh, dims, rows):
  """Raises UserError if a size is not divisible by the mesh axis that it is spread over.

  `rows` are those of one microbatch.
  """
  keys = {'N': 'model.heads', 'K': 'model.kv_heads', 'F': 'model.hidden', 'D': 'model.dim'}
  sizes = [(key, getattr(dims, letter), (AXES[letter],)) for letter, key in keys.items()]
  for key, size, axes in [*sizes, ('train.batch / train.accumulate', rows, AXES['B'])]:
    parts = math.prod(mesh.shape[axis] for axis in axes)
    if size % parts:
      raise UserError(
        f'{key} = {size}: must be a multiple of the {parts} devices along {" and ".join(axes)}, '
        f'such as {-(-size // parts) * parts}; or take another mesh'
      )


def state_sharding(tree, mesh):
  """The sharding of each leaf of a tree of weights, or of anything that holds such trees."""

  def sharding(path, leaf):
    name = next((key.key for key in reversed(path) if isinstance(key, jax.tree_util.DictKey)), '')
    axes = []
    # Within one layer a weight has no L, the first of its letters.
    for letter in letters(name)[-leaf.ndim :] if leaf.ndim else '':
      axis = AXES.get(letter)
      axes.append(None if axis in axes else axis)  # a mesh axis serves one letter, the first
    return NamedSharding(mesh, PartitionSpec(*[None] * (leaf.ndim - len(axes)), *axes))

  return jax.tree_util.tree_map_with_path(sharding, tree)


def row_parts(mesh):
  """How many parts the rows of a batch are spread over."""
  return math.prod(mesh.shape[axis] for axis in AXES['B'])


def batch_sharding(mesh):
  return NamedSharding(mesh, PartitionSpec(AXES['B']))


def constrain_batch(x_B):
  """Keeps the leading axis spread like a batch's rows, if there is such a mesh and it divides them.

  Without it the compiler may rather keep activations sharded by the weights' D.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.axis_names != MESH_AXES or len(x_B) % row_parts(mesh):
    return x_B
  return jax.lax.with_sharding_constraint(x_B, PartitionSpec(AXES['B']))


def replicated(table):
  """All of a table on every device: rows looked up in a part of one would be moved twice."""
  if jax.sharding.get_abstract_mesh().axis_names != MESH_AXES:
    return table
  return jax.lax.with_sharding_constraint(table, PartitionSpec())


def shard_batch(batch, mesh):
  """This host's rows of numpy arrays as part of global arrays."""
  sharding = batch_sharding(mesh)
  return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
