"""The FLOPs, memory, messages and time of a training step, without running it; whether it fits.

FLOPs are model FLOPs: 6 for each matrix weight and token, and 12 N H for each visible pair of query
and key in each layer (Chowdhery et al. 2022, arXiv 2204.02311, appendix B, which also counts masked
pairs). Recomputation (remat) and the extra work of an encoding are not counted. Memory is XLA's
plan for one device. If it is too large, changes of the config are compiled until one fits, smaller
changes first. Messages are the collectives of the compiled step; times on paper are FLOPs at a
usual share of the peak and bytes at published bandwidths, each as if it were alone.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from posjax import collectives, run_summary, sharding, state, train_step
from posjax.dims import is_matrix
from posjax.errors import show
from posjax.models.transformer import Transformer
from posjax.optimizer import of_encoding
from posjax.runtime import devices, memory

# Fraction of the peak in a good run: torchtitan on H100 0.33 to 0.39, MaxText on TPU 0.44 to
# 0.65 (their documentation).
REACHED = 0.4
MORE = 'more devices, a smaller model or a shorter train.length'


class Step(NamedTuple):
  """What a compiled step takes on one device, in bytes; infinite if the compiler rejects it."""

  arguments: float
  temporaries: float
  messages: tuple[collectives.Collective, ...] = ()

  @property
  def memory(self) -> float:
    return self.arguments + self.temporaries


def flops_per_step(config: ConfigDict, model: Transformer, params: Any) -> int:
  """Returns the model FLOPs of a training step: forward and backward, over all devices."""

  def in_products(path, leaf):
    """Returns the size of a weight in a product; in a decoder or an encoder, each token has one."""
    name = path[-1].key
    look_up = name == 'types_RD' or (name == 'table_VD' and not model.shares_table)
    return 0 if look_up or of_encoding(path) or not is_matrix(name) else leaf.size

  # A row of a model with an encoder has a source as long as itself.
  weights = sum(jax.tree.leaves(jax.tree_util.tree_map_with_path(in_products, params)))
  T = config.train.length
  scores = 12 * model.visible_pairs(T) * model.heads * model.head_dim
  return config.train.batch * (6 * weights * T + scores)


def run(config: ConfigDict, name: str, device: str = '', slices: int = 0) -> int:
  """Prints the cost of a training step and whether it fits; trains nothing.

  Args:
    config: the resolved `ConfigDict`.
    name: the run's name, for the report.
    device: the accelerator to plan for, a key of `devices.ACCELERATORS`; '': the local devices.
    slices: the number of slices that the simulated devices stand for; 0: the devices are not
      simulated, or not by --devices.

  Returns:
    The exit code: 0 if a step fits into memory, otherwise 2.

  Raises:
    UserError: the mesh cannot span the slices; or, after the verdict, the data is unavailable or
      too small.
  """
  setup = state.setup(config)
  mesh, params = setup.mesh, setup.shapes.params
  slices = slices or sharding.count_slices(jax.devices())
  sharding.check_slices(mesh.shape['data'], slices)
  flops = flops_per_step(config, setup.model, params)
  tokens = config.train.batch * config.train.length
  print(f'config      {name}')
  print(f'parameters  {run_summary.count(params):,}')
  print(f'FLOPs       {flops:.3e} a step, {flops / tokens:.3e} a {setup.task.unit}')
  axes = ', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())
  print(f'mesh        {axes}', flush=True)
  step = compile_step(config)
  print_memory(setup, step)
  node = node_size(device, mesh.size, slices)
  print_collectives(step.messages, node)
  print_seconds(flops, config.model.dtype, mesh.size, device)
  print_sending(step.messages, device, node)
  fits = judge(config, mesh, step.memory, device, slices)
  print(f'data        {setup.open().name}')
  return 0 if fits else 2


def compile_step(config: ConfigDict) -> Step:
  """Returns the `Step` of a config.

  Memory is infinite if the compiler rejects a step that is too large, as the TPU compiler does.
  """
  setup = state.setup(config)
  try:
    with jax.set_mesh(setup.mesh):
      step = train_step.make_step(setup)
      step = step.lower(setup.shapes, train_step.example(setup)).compile()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    return Step(math.inf, math.inf)
  planned = step.memory_analysis()
  found = collectives.of_program(step.as_text(), setup.mesh.size)
  return Step(planned.argument_size_in_bytes, planned.temp_size_in_bytes, tuple(found))


def print_memory(setup: state.Setup, step: Step) -> None:
  """Prints the bytes of a step on one device by what holds them."""
  parts = {
    'weights': setup.shapes.params, 'optimizer': setup.shapes.opt_state,
    'batch': train_step.example(setup),
  }
  parts = {name: sum(map(bytes_of_shard, jax.tree.leaves(tree))) for name, tree in parts.items()}
  parts['temporaries'] = step.temporaries
  held = ', '.join(f'{name} {gib(size)}' for name, size in parts.items())
  print(f'memory      {gib(step.memory)}{f" a device: {held}" if step.memory < math.inf else ""}')


def bytes_of_shard(leaf: jax.ShapeDtypeStruct) -> int:
  return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def node_size(device: str, count: int, slices: int) -> int:
  """Returns the number of neighboring devices with fast links: those of a slice or a GPU node."""
  links = devices.LINKS.get(device)
  return links.node if links and links.node and slices == 1 else count // slices


def print_collectives(found: Sequence[collectives.Collective], node: int) -> None:
  """Prints what a device sends in a step, by kind; and out of its node or slice of `node` devices.

  'at least': a loop with an unknown number of iterations counts as one iteration.
  """
  if found:
    print(f'sends       {gib(sum(each.total for each in found))} a device in a step')
  for kind in sorted({each.kind for each in found}):
    own = [each for each in found if each.kind == kind]
    least = '' if all(each.exact for each in own) else 'at least '
    times = f'{least}{sum(each.count for each in own):,} times'
    far = sum(each.count * each.across(node) for each in own)
    out = f', {gib(far)} of it between nodes or slices' if far else ''
    print(f'            {kind} {times}, {gib(sum(each.total for each in own))}{out}')


def print_sending(found: Sequence[collectives.Collective], device: str, node: int) -> None:
  """Prints the time on paper of all messages of a step, if the accelerator's links are known."""
  links = devices.LINKS.get(device)
  if links and found:
    far = sum(each.count * each.across(node) for each in found)
    near = sum(each.total for each in found) - far
    text = f'{near / links.near:.3g} s of messages at {links.near / 1e9:.3g} GB/s'
    if far:
      text += f', {far / links.far:.3g} s between nodes or slices at {links.far / 1e9:.3g} GB/s'
    print(f'            {text}, on paper')


def gib(number: float) -> str:
  return f'{number / 2**30:.2f} GiB' if number < math.inf else 'more than the compiler accepts'


def print_seconds(flops: float, dtype: str, count: int, device: str) -> None:
  """Prints the minimum time of a step on `count` devices, if their peak in `dtype` is known."""
  if device:
    peak = count * devices.find(device).flops.get(dtype, 0)
  else:
    peak = devices.peak_flops(dtype)
  if peak:
    least, speed = flops / peak, f'{peak / 1e12:,.0f} TFLOP/s'
    print(
      f'time        at least {least:.3g} s a step at {speed}, the peak in {dtype}; '
      f'{least / REACHED:.3g} s at {REACHED:.0%} of the peak'
    )


def judge(
  config: ConfigDict, mesh: jax.sharding.Mesh, needed: float, device: str, slices: int = 1
) -> bool:
  """Prints whether a step fits, and if not, a change that helps; returns whether it fits."""
  room = devices.find(device).memory if device else memory.device_memory()
  kind = jax.devices()[0].device_kind
  verdict = 'fits' if needed <= room else 'does not fit'
  print(f'verdict     {verdict}: {device or kind} has {gib(room)} a device', flush=True)
  if device:
    print(f'            (planned by the compiler for {kind}; {device} may need more or less)')
    fit = [name for name, row in devices.ACCELERATORS.items() if needed <= row.memory]
    print(f'            by this plan it fits: {", ".join(fit) or "no device of the table"}')
  if needed > room:
    flags, least = remedy(config, mesh, needed, room, slices)
    if least <= room:
      print(f'fits with   {flags}: {gib(least)}')
    else:
      with_flags = f' with {flags}' if flags else ''
      print(f'            nothing tried fits; the least is {gib(least)}{with_flags}: take {MORE}')
  return needed <= room


def remedy(
  config: ConfigDict, mesh: jax.sharding.Mesh, needed: float, room: float, slices: int
) -> tuple[str, float]:
  """Compiles changes of `config` and prints their memory, until one fits into `room` bytes.

  Returns:
    (flags, bytes per device) of the smallest change that fits; if none fits, of the change that
    needs the least memory.
  """
  tried = {'': needed}

  def take(changes):
    flags = ' '.join(f'--config.{key}={show(value).lower()}' for key, value in changes.items())
    if flags not in tried:
      changed = config.copy_and_resolve_references()
      changed.update_from_flattened_dict(changes)
      tried[flags] = compile_step(changed).memory
      print(f'tried       {flags}: {gib(tried[flags])}', flush=True)
    return flags, tried[flags]

  fits = lambda changes: take(changes)[1] <= room
  for ladder in ladders(config, mesh, slices):
    if fits(ladder[-1]):
      return take(ladder[bisect.bisect_left(ladder, True, key=fits)])
  return min(tried.items(), key=lambda item: item[1])


def ladders(
  config: ConfigDict, mesh: jax.sharding.Mesh, slices: int
) -> Iterator[list[dict[str, Any]]]:
  """Yields lists of changes {key: value} that save memory; the last of a list saves the most.

  Smaller changes come first. No change affects the trained weights, except through random draws.
  """
  remat = {} if config.model.remat else {'model.remat': True}
  data_axis, fsdp = mesh.shape['data'], mesh.shape['fsdp'] * mesh.shape['data'] // slices
  spread = {}
  if data_axis > slices and config.model.dim % fsdp == 0:
    spread = {'mesh.data': slices, 'mesh.fsdp': fsdp}
  rows = config.train.batch // sharding.row_parts(mesh)
  microbatches, n = [{}], 2 * config.train.accumulate
  while rows % n == 0:
    microbatches.append({'train.accumulate': n})
    n *= 2
  yield [remat]
  for change in ({}, remat, spread, remat | spread):
    yield [change | more for more in microbatches]
