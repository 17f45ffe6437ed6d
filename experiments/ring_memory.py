"""Ring attention: planned memory of one layer by number of devices, and the messages it sends.

Forward and backward pass of one attention layer over a row of 32,768 tokens, compiled for simulated
CPU devices, not run. Columns are MiB on each device: arguments, and XLA's plan for temporaries.
Collectives are counted in the compiled program for eight devices; those in a loop run once a turn.

  python experiments/ring_memory.py [ENCODING ...]
"""

import collections
import os
import re
import sys

os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8'
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax  # noqa: E402
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from posjax import encodings, sharding
from posjax.attention import attend
from posjax.dims import Dims
from posjax.encodings import Bound, Positions

LENGTH, DIMS = 32_768, Dims(N=8, K=8, H=32, D=256)
DEVICES = 1, 2, 4, 8
NAMES = 'rope', 'alibi', 't5', 'shaw', 'fox', 'path'
MIB = 2**20


def gradients(encoding, weights, x_BTD):
  """Returns the gradients of a layer without projections: heads are slices of the stream."""

  def loss(weights, x_BTD):
    bound = Bound(encoding, weights)
    order = jnp.arange(LENGTH, dtype=jnp.int32)[None]
    at = Positions(order[..., None], order, 0 * order, consecutive=True)
    state = encoding.init_state(1, LENGTH, True, jax.random.key(0))
    at, _ = bound.locate(at, state.sequence, x_BTD.dtype)
    features, _ = bound.features(x_BTD, at, state.layer)
    h_BTNH = sharding.constrain_batch(x_BTD).reshape(1, LENGTH, DIMS.N, DIMS.H)
    q = bound.query(at.attach(h_BTNH * DIMS.scale, h_BTNH, features))
    k = bound.key(at.attach(h_BTNH, h_BTNH, features))
    return jnp.sum(attend(q, k, bound, implementation='blockwise'))

  return jax.grad(loss, argnums=(0, 1))(weights, x_BTD)


def planned(name, devices):
  """Returns (arguments, temporaries) in MiB on each of `devices`, and the collectives by kind."""
  encoding = encodings.find(name)().with_dims(DIMS)
  mesh = sharding.make_mesh(jax.devices()[:devices], data=1, fsdp=1, seq=devices, tensor=1)
  tokens = NamedSharding(mesh, PartitionSpec(None, 'seq'))
  x_BTD = jax.ShapeDtypeStruct((1, LENGTH, DIMS.D), jnp.float32, sharding=tokens)
  weights = jax.eval_shape(encoding.init_weights, jax.random.key(0))
  with jax.set_mesh(mesh):
    program = jax.jit(gradients, static_argnums=0).lower(encoding, weights, x_BTD).compile()
  memory = program.memory_analysis()
  kinds = re.findall(
    r' (collective-permute|all-gather|all-reduce|all-to-all|reduce-scatter)(?:-start)?\(',
    program.as_text(),
  )
  sizes = memory.argument_size_in_bytes / MIB, memory.temp_size_in_bytes / MIB
  return sizes, collections.Counter(kinds)


def main(names):
  columns = ' | '.join(f'{n} device{"s" * (n > 1)}' for n in DEVICES)
  print(f'| encoding | {columns} | collectives |')
  print('| --- ' * (len(DEVICES) + 2) + '|', flush=True)
  for name in names or NAMES:
    found = [planned(name, devices) for devices in DEVICES]
    cells = ' | '.join(f'{given:.1f} + {temporary:.0f}' for (given, temporary), _ in found)
    counts = ', '.join(f'{n} {kind}' for kind, n in sorted(found[-1][1].items()))
    print(f'| {name} | {cells} | {counts} |', flush=True)


if __name__ == '__main__':
  main(sys.argv[1:])
