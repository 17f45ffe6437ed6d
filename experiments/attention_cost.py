"""What a layer's attention costs with each encoding, over none; and that its memory is linear.

Rabe and Staats 2021, arXiv 2112.05682; Dao et al. 2022, arXiv 2205.14135: blocks need memory linear
in the length, and no more time. Features, hooks and attention of one layer, forward and backward,
batch 1, 8 heads of 64, float32.

`python experiments/attention_cost.py` takes every encoding at 2,048 tokens, in blocks, each in
a process of its own and in turn with `nope`: medians of five times and their ratio, the peak of the
process above what it held before the first call, and XLA's own plan of temporaries. Then it plans
`reference` and `blockwise` by length, with ALiBi. About five minutes on two CPU cores.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

LENGTH, LENGTHS, ROUNDS = 2048, (1024, 4096, 16_384), 5
CHAINS = ('randomize+rope', 'rope+fox', 'sinusoidal+t5')


def compile_layer(layer, length, implementation):
  """A layer's attention and its gradient, compiled, with arguments for it."""
  import jax
  import jax.numpy as jnp

  from posjax.attention import attend
  from posjax.dims import Dims
  from posjax.encodings import At, Bound, build

  dims = Dims(D=512, N=8, K=8, H=64)
  (encoding,) = build(dims, (layer,))
  rngs = jax.random.split(jax.random.key(0), 6)
  row = jnp.arange(length, dtype=jnp.int32)[None]
  at = At(pos=row[..., None], order=row, segment_ids=jnp.zeros_like(row))
  state = encoding.init_state(1, length, True, rngs[0])

  def loss(weights, x_BTD, q_BTNH, k_BTNH, v_BTNH):
    bound = Bound(encoding, weights)
    pos, _ = bound.positions(at, state.sequence)
    there = at.replace(pos=pos)
    features, _ = bound.features(x_BTD, there, state.layer)
    q = bound.query(there.tokens(q_BTNH * dims.scale, v_BTNH, features))
    k = bound.key(there.tokens(k_BTNH, v_BTNH, features))
    return jnp.sum(attend(q, k, bound, implementation=implementation) ** 2)

  arguments = [
    encoding.init_weights(rngs[1]), jax.random.normal(rngs[2], (1, length, dims.D)),
    *(jax.random.normal(rng, (1, length, dims.N, dims.H)) for rng in rngs[3:]),
  ]
  return jax.jit(jax.grad(loss, range(5))).lower(*arguments).compile(), arguments


def plan(layer, length, implementation):
  """MB of temporaries."""
  compiled, _ = compile_layer(layer, length, implementation)
  return {'plan': compiled.memory_analysis().temp_size_in_bytes / 1e6}


def measure(layer):
  """Seconds of the layer and of `nope`, in turn; MB at the peak and planned."""
  import jax

  def seconds(compiled, arguments):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    return time.perf_counter() - start

  it = compile_layer(layer, LENGTH, 'blockwise')
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  seconds(*it)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
  nope = compile_layer('nope', LENGTH, 'blockwise')
  seconds(*nope)
  times = [(seconds(*it), seconds(*nope)) for _ in range(ROUNDS)]
  return {
    'seconds': statistics.median(mine for mine, _ in times),
    'ratio': statistics.median(mine / none for mine, none in times),
    'peak': peak * 1024 / 1e6, 'plan': it[0].memory_analysis().temp_size_in_bytes / 1e6,
  }


def apart(*case):
  """A case's figures, from a process of its own."""
  command = [sys.executable, __file__, json.dumps(case)]
  return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
  import tqdm

  from posjax.encodings import names

  layers = sorted([name for name in names() if name != 'randomize'] + [*CHAINS])
  print(f'| {LENGTH:,} tokens | seconds | over nope | peak MB | planned MB |')
  print('| --- | --- | --- | --- | --- |')
  for layer in tqdm.tqdm(layers, file=sys.stderr):
    f = apart('measure', layer)
    print(f'| {layer} | {f["seconds"]:.3f} | {f["ratio"]:.2f} | {f["peak"]:,.0f} '
          f'| {f["plan"]:,.0f} |', flush=True)
  print('\n| tokens | all at once, planned MB | in blocks, planned MB |\n| --- | --- | --- |')
  for length in LENGTHS:
    plans = [apart('plan', 'alibi', length, way)['plan'] for way in ('reference', 'blockwise')]
    print(f'| {length:,} | {plans[0]:,.0f} | {plans[1]:,.0f} |', flush=True)


if __name__ == '__main__':
  if len(sys.argv) > 1:
    name, *arguments = json.loads(sys.argv[1])
    print(json.dumps({'plan': plan, 'measure': measure}[name](*arguments)))
  else:
    main()
