"""One training step on one device and on eight: loss and gradient norm must be equal on every mesh.

Each row of the table is an encoding: loss and gradient norm of a step on one device, and for each
mesh of eight simulated CPU devices the larger relative difference of the two. The model is tiny,
its weights are random (no table starts at 0), and each row of 128 random tokens is one document,
so that carries cross every shard. With JAX_ENABLE_X64=1 all numbers are float64, otherwise float32.

  [JAX_ENABLE_X64=1] python experiments/mesh_equality.py [ENCODING ...]
"""

import dataclasses
import os
import sys

os.environ['XLA_FLAGS'] = (
  '--xla_force_host_platform_device_count=8 --xla_cpu_parallel_codegen_split_count=1'
)
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax  # noqa: E402
import numpy as np

from posjax import config as config_lib
from posjax import sharding, state, train_step
from posjax.batch import Batch, Stream

NAMES = (
  'nope', 'rope', 'alibi', 't5', 'shaw', 'transformer_xl', 'fox', 'path', 'cope', 'stick_breaking',
)
MESHES = {
  'data 8': dict(data=8),
  'fsdp 8': dict(fsdp=8),
  'data 4, tensor 2': dict(data=4, tensor=2),
  'seq 8': dict(seq=8),
  'fsdp 2, seq 2, tensor 2': dict(fsdp=2, seq=2, tensor=2),
  'data 2, seq 4': dict(data=2, seq=4),
}
QUICKLY = {'xla_backend_optimization_level': 0}  # nearly all time is compilation
SETTINGS = 'train.length=128', 'train.batch=8', 'attention.block=8', 'mesh.data=8'


def problem(name):
  """Returns (setup, state, batch) of a step, with arrays of numpy."""
  config, _, _ = config_lib.load(name, [f'--config.{setting}' for setting in SETTINGS])
  config.model.dtype = str(jax.dtypes.canonicalize_dtype(float))
  setup = state.setup(config)
  wide = lambda x: np.asarray(x, config.model.dtype if x.dtype == 'float32' else None)
  first = jax.tree.map(wide, state.first(config, setup.model)())
  random = np.random.default_rng(0)
  # Zeros and ones of the initialization hide mistakes.
  noise = lambda x: x + random.normal(scale=0.1, size=x.shape).astype(x.dtype)
  B, T = config.train.batch, config.train.length
  tokens, targets = random.integers(256, size=(2, B, T)).astype(np.int32)
  order = np.broadcast_to(np.arange(T, dtype=np.int32), (B, T))
  batch = Batch(Stream(tokens, order[..., None], 0 * order), targets, order >= 0)
  return setup, first.replace(params=jax.tree.map(noise, first.params)), batch


def step(setup, first, batch, devices, **axes):
  """Returns (loss, gradient norm) of a training step on a mesh of the first devices."""
  sizes = {axis: axes.get(axis, 1) for axis in sharding.MESH_AXES}
  mesh = sharding.make_mesh(jax.devices()[:devices], **sizes)
  setup = dataclasses.replace(setup, mesh=mesh)
  placed = jax.device_put(first, sharding.state_sharding(first, mesh))
  batch = sharding.shard_batch(batch, mesh)
  with jax.set_mesh(mesh):
    program = train_step.make_step(setup).lower(placed, batch).compile(QUICKLY)
    metrics = program(placed, batch)[1]
  return np.array([metrics['loss'], metrics['gradient_norm']], float)


def main(names):
  columns = ['encoding', 'loss', 'gradient norm', *MESHES]
  print(f'| {" | ".join(columns)} |\n{"| --- " * len(columns)}|', flush=True)
  for name in names or NAMES:
    given = problem(name)
    one = step(*given, 1)
    cells = [f'{one[0]:.6f}', f'{one[1]:.6f}']
    for axes in MESHES.values():
      cells.append(f'{np.max(abs(step(*given, 8, **axes) - one) / one):.0e}')
    print(f'| {name} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
  main(sys.argv[1:])
