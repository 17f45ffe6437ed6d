"""Attention needs memory linear in the length, not quadratic, and no more time.

Rabe and Staats 2021, arXiv 2112.05682; Dao et al. 2022, arXiv 2205.14135. `blockwise` against
`reference`, forward and backward, with ALiBi: the attention of one layer, batch 1, 4 heads of 64,
float32.

`python experiments/attention_memory.py` measures each case in a process of its own: the best of
three times, the peak of the process above what it held before the first call, and XLA's own plan of
temporaries. 16k is only planned. About two minutes on two CPU cores.
"""

import json
import resource
import subprocess
import sys
import time

MEASURED, PLANNED = (1024, 4096), (16_384,)


def case(implementation, length, backward, measure):
  """One case's figures, in MB and seconds; 'peak' and 'seconds' only if it is to be measured."""
  import jax
  import jax.numpy as jnp

  from posjax.attention import attend
  from posjax.dims import Dims
  from posjax.encodings import At, Bound
  from posjax.encodings.alibi import Alibi

  dims = Dims(D=256, N=4, K=4, H=64)
  alibi = Bound(Alibi().with_dims(dims))
  row = jnp.arange(length, dtype=jnp.int32)[None]
  at = At(pos=row[..., None], order=row, segment_ids=jnp.zeros_like(row))

  def forward(q_h, k_h, v):
    q, k = at.tokens(q_h * dims.scale), at.tokens(k_h, v)
    return jnp.sum(attend(q, k, alibi, implementation=implementation) ** 2)

  function = jax.grad(forward, argnums=(0, 1, 2)) if backward else forward
  arguments = [
    jax.random.normal(key, (1, length, 4, 64)) for key in jax.random.split(jax.random.key(0), 3)
  ]
  compiled = jax.jit(function).lower(*arguments).compile()
  figures = {'plan': compiled.memory_analysis().temp_size_in_bytes / 1e6}
  if measure:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(3):
      start = time.perf_counter()
      jax.block_until_ready(compiled(*arguments))
      times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    figures |= {'seconds': min(times), 'peak': peak * 1024 / 1e6}
  return figures


def main():
  print('| length | pass | implementation | seconds | peak MB | planned MB |')
  print('| --- | --- | --- | --- | --- | --- |')
  for length in (*MEASURED, *PLANNED):
    for backward in (False, True):
      for implementation in ('reference', 'blockwise'):
        arguments = (implementation, length, backward, length in MEASURED)
        done = subprocess.run(
          [sys.executable, __file__, json.dumps(arguments)],
          stdout=subprocess.PIPE, text=True, check=True,
        )
        figures = json.loads(done.stdout)
        seconds, peak = (
          f'{figures[name]:{form}}' if name in figures else 'planned only'
          for name, form in (('seconds', '.3f'), ('peak', ',.0f'))
        )
        which = 'forward + backward' if backward else 'forward'
        cells = (f'{length:,}', which, implementation, seconds, peak, f'{figures["plan"]:,.0f}')
        print(f'| {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
  if len(sys.argv) > 1:
    print(json.dumps(case(*json.loads(sys.argv[1]))))
  else:
    main()
