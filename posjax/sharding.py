"""The device mesh, and the one table of axis letters to mesh axes that defines every sharding.

The mesh has the axes (data, fsdp, seq, tensor), all Auto: the compiler propagates shardings and
inserts the communication. The rows of a batch are sharded over data and fsdp together, the tokens
of activations over seq; attention/ring.py then lets keys travel. A weight is sharded over fsdp and
tensor by the letters at the end of its name, in any tree, so that AdamW's moments have the sharding
of their weights.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from posjax.dims import Dims, letters
from posjax.errors import UserError

MESH_AXES = ('data', 'fsdp', 'seq', 'tensor')  # the last one's devices talk most: neighbors

# H, R and a stacked axis of layers are never sharded. Nor is V: a token table sharded on both axes
# would be gathered in full for every lookup.
AXES = {
  'B': ('data', 'fsdp'), 'T': 'seq', 'D': 'fsdp', 'N': 'tensor', 'K': 'tensor', 'F': 'tensor',
}


def make_mesh(devices: Sequence[jax.Device] | None = None, **shape: int) -> Mesh:
  """Returns the mesh of `shape`, devices along each axis; -1: all remaining devices.

  On several TPU slices, the axis data alone crosses slices, whose network is slow.

  Raises:
    UserError: the shape does not use all devices, or slices do not divide data.
  """
  devices = jax.devices() if devices is None else devices
  known = math.prod(n for n in shape.values() if n != -1)
  sizes = tuple(len(devices) // known if shape[a] == -1 else shape[a] for a in MESH_AXES)
  if math.prod(sizes) != len(devices):
    axes = ', '.join(f'mesh.{axis} = {n}' for axis, n in shape.items())
    raise UserError(
      f'{axes}: {known} devices, but the machine has {len(devices)}; -1 uses all remaining '
      'devices, such as mesh.data=-1'
    )
  types = (AxisType.Auto,) * len(MESH_AXES)
  slices = count_slices(devices)
  if slices == 1:
    return jax.make_mesh(sizes, MESH_AXES, axis_types=types, devices=devices)
  check_slices(sizes[0], slices)
  arranged = mesh_utils.create_hybrid_device_mesh(
    (sizes[0] // slices, *sizes[1:]), (slices, *(1,) * len(sizes[1:])), devices,
    allow_split_physical_axes=True,
  )
  return Mesh(arranged, MESH_AXES, axis_types=types)


def count_slices(devices: Sequence[jax.Device]) -> int:
  """Returns the number of TPU slices; elsewhere 1: JAX also numbers GPU nodes as slices."""
  own = (getattr(device, 'slice_index', 0) for device in devices if device.platform == 'tpu')
  return len({*own}) or 1


def check_slices(data: int, slices: int) -> None:
  """Raises UserError if a mesh with `data` devices along data cannot span so many slices."""
  if data % slices:
    raise UserError(
      f'mesh.data = {data}: must be a multiple of the {slices} slices, since no other axis crosses '
      f'slices, such as {-(-data // slices) * slices}'
    )


def check(mesh: Mesh, dims: Dims, rows: int, length: int) -> None:
  """Raises UserError if a size is not divisible by the mesh axes over which it is sharded.

  `rows` is the number of rows in one microbatch, `length` their number of tokens.
  """
  keys = {'N': 'model.heads', 'K': 'model.kv_heads', 'F': 'model.hidden', 'D': 'model.dim'}
  sizes = [(key, getattr(dims, letter), (AXES[letter],)) for letter, key in keys.items()]
  sizes += [('train.batch / train.accumulate', rows, AXES['B'])]
  sizes += [('train.length', length, (AXES['T'],))]
  for key, size, axes in sizes:
    parts = math.prod(mesh.shape[axis] for axis in axes)
    if size % parts:
      raise UserError(
        f'{key} = {size}: must be a multiple of the {parts} devices along {" and ".join(axes)}, '
        f'such as {-(-size // parts) * parts}; or change the mesh'
      )


def state_sharding(tree: Any, mesh: Mesh) -> Any:
  """Returns the sharding of each leaf of a tree of weights, or of a tree that contains weights."""

  def sharding(path, leaf):
    name = next((key.key for key in reversed(path) if isinstance(key, jax.tree_util.DictKey)), '')
    axes = []
    # Within one layer a weight has no axis for L, its first letter.
    for letter in letters(name)[-leaf.ndim :] if leaf.ndim else '':
      axis = AXES.get(letter)
      axes.append(None if axis in axes else axis)  # a mesh axis shards its first letter only
    return NamedSharding(mesh, PartitionSpec(*[None] * (leaf.ndim - len(axes)), *axes))

  return jax.tree_util.tree_map_with_path(sharding, tree)


def row_parts(mesh: Mesh | AbstractMesh) -> int:
  """Returns the number of shards of the rows of a batch."""
  return math.prod(mesh.shape[axis] for axis in AXES['B'])


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of a batch: by rows alone, as ids are small beside activations."""
  return NamedSharding(mesh, PartitionSpec(AXES['B']))


def constrain_batch(x_BT: jax.Array) -> jax.Array:
  """Constrains rows and tokens to their shardings, if a mesh is set and divides them.

  Otherwise the compiler may instead shard activations by the D of the weights.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.axis_names != MESH_AXES or len(x_BT) % row_parts(mesh):
    return x_BT
  tokens = None if x_BT.shape[1] % mesh.shape[AXES['T']] else AXES['T']
  return jax.lax.with_sharding_constraint(x_BT, PartitionSpec(AXES['B'], tokens))


def replicated(table: jax.Array) -> jax.Array:
  """Replicates a table on every device: rows looked up in a sharded table would be moved twice."""
  if jax.sharding.get_abstract_mesh().axis_names != MESH_AXES:
    return table
  return jax.lax.with_sharding_constraint(table, PartitionSpec())


def shard_batch(batch: Any, mesh: Mesh) -> Any:
  """Returns global arrays from a batch of numpy arrays, the same on all hosts."""
  sharding = batch_sharding(mesh)
  place = lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
  return jax.tree.map(place, batch)
