"""The FLOPs, memory and time of a training step, without running it, and whether it fits.

FLOPs are model FLOPs: 6 for each matrix weight and token, and 12 N H for each visible pair of query
and key in each layer (Chowdhery et al. 2022, arXiv 2204.02311, appendix B, which also counts masked
pairs). Recomputation (remat) and the extra work of an encoding are not counted. Memory is XLA's
plan for one device. If it is too large, changes of the config are compiled until one fits, smaller
changes first.
"""

import bisect
import math
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from posjax import report, sharding, state, train_step
from posjax.dims import is_matrix
from posjax.errors import show
from posjax.models.transformer import Transformer
from posjax.optimizer import of_encoding
from posjax.runtime import devices, memory

# Fraction of the peak in a good run: torchtitan on H100 0.33 to 0.39, MaxText on TPU 0.44 to
# 0.65 (their documentation).
REACHED = 0.4
MORE = 'more devices, a smaller model or a shorter train.length'


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


def run(config: ConfigDict, name: str, device: str = '') -> int:
  """Prints the cost of a training step and whether it fits; trains nothing.

  Args:
    config: the resolved `ConfigDict`.
    name: the run's name, for the report.
    device: the accelerator to plan for, a key of `devices.ACCELERATORS`; '': the local devices.

  Returns:
    The exit code: 0 if a step fits into memory, otherwise 2.

  Raises:
    UserError: the data is unavailable or too small; raised after the verdict.
  """
  setup = state.setup(config)
  mesh, params = setup.mesh, setup.shapes.params
  flops = flops_per_step(config, setup.model, params)
  tokens = config.train.batch * config.train.length
  print(f'config      {name}')
  print(f'parameters  {report.count(params):,}')
  print(f'FLOPs       {flops:.3e} a step, {flops / tokens:.3e} a {setup.task.unit}')
  axes = ', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())
  print(f'mesh        {axes}', flush=True)
  arguments, temporaries = bytes_of_step(config)
  needed = arguments + temporaries
  parts = f' a device: state and batch {gib(arguments)}, temporaries {gib(temporaries)}'
  print(f'memory      {gib(needed)}{parts if needed < math.inf else ""}')
  print_seconds(flops, config.model.dtype, mesh.size, device)
  fits = judge(config, mesh, needed, device)
  print(f'data        {setup.open().name}')
  return 0 if fits else 2


def bytes_of_step(config: ConfigDict) -> tuple[float, float]:
  """Returns the bytes of a compiled step on one device: (arguments, temporaries).

  Both are infinite if the compiler rejects a step that is too large, as the TPU compiler does.
  """
  setup = state.setup(config)
  try:
    with jax.set_mesh(setup.mesh):
      step = train_step.make_step(setup)
      step = step.lower(setup.shapes, train_step.example(setup)).compile()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    return math.inf, math.inf
  planned = step.memory_analysis()
  return planned.argument_size_in_bytes, planned.temp_size_in_bytes


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


def judge(config: ConfigDict, mesh: jax.sharding.Mesh, needed: float, device: str) -> bool:
  """Prints whether a step fits, and if not, a change that helps; returns whether it fits."""
  room = devices.find(device).memory if device else memory.device_memory()
  kind = jax.devices()[0].device_kind
  verdict = 'fits' if needed <= room else 'does not fit'
  print(f'verdict     {verdict}: {device or kind} has {gib(room)} a device', flush=True)
  if device:
    print(f'            (planned by the compiler for {kind}; {device} may need more or less)')
  if needed > room:
    flags, least = remedy(config, mesh, needed, room)
    if least <= room:
      print(f'fits with   {flags}: {gib(least)}')
    else:
      with_flags = f' with {flags}' if flags else ''
      print(f'            nothing tried fits; the least is {gib(least)}{with_flags}: take {MORE}')
  return needed <= room


def remedy(
  config: ConfigDict, mesh: jax.sharding.Mesh, needed: float, room: float
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
      tried[flags] = sum(bytes_of_step(changed))
      print(f'tried       {flags}: {gib(tried[flags])}', flush=True)
    return flags, tried[flags]

  fits = lambda changes: take(changes)[1] <= room
  for ladder in ladders(config, mesh):
    if fits(ladder[-1]):
      return take(ladder[bisect.bisect_left(ladder, True, key=fits)])
  return min(tried.items(), key=lambda item: item[1])


def ladders(config: ConfigDict, mesh: jax.sharding.Mesh) -> Iterator[list[dict[str, Any]]]:
  """Yields lists of changes {key: value} that save memory; the last of a list saves the most.

  Smaller changes come first. No change affects the trained weights, except through random draws.
  """
  remat = {} if config.model.remat else {'model.remat': True}
  data_axis, fsdp = mesh.shape['data'], mesh.shape['fsdp']
  spread = {}
  if data_axis > 1 and config.model.dim % (data_axis * fsdp) == 0:
    spread = {'mesh.data': 1, 'mesh.fsdp': data_axis * fsdp}
  rows = config.train.batch // sharding.row_parts(mesh)
  microbatches, n = [{}], 2 * config.train.accumulate
  while rows % n == 0:
    microbatches.append({'train.accumulate': n})
    n *= 2
  yield [remat]
  for change in ({}, remat, spread, remat | spread):
    yield [change | more for more in microbatches]
