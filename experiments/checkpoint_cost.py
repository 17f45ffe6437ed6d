"""Measures the cost of checksums and the lock: `python experiments/checkpoint_cost.py`.

Prints seconds, medians of five, for the state of RoPE at each config size: the lock, a save until
training may continue, the same save until it is on disk, a restoration, and a checksum of all
arrays. The first checksum of a process, which also compiles, has its own column.
"""

import contextlib
import statistics
import sys
import tempfile
import time

import grain
import jax

from posjax import checkpoint, run_summary, train
from posjax import config as config_lib
from posjax import state as state_lib
from posjax.runtime import checksum, lock


def seconds(function):
  start = time.perf_counter()
  jax.block_until_ready(function())
  return time.perf_counter() - start


def measure(size, workdir):
  """Prints one row of the table, for the state of RoPE at `size`."""
  config, _, _ = config_lib.load(f'rope:{size}')
  setup = state_lib.setup(config)
  state = train.first_state(setup)
  sums = lambda: jax.device_get(checksum.of_arrays(state))
  first = seconds(sums)
  rows = []
  for step in range(1, 6):
    rows.append((*save_and_restore(workdir, step, state, setup.shapes), seconds(sums)))
  medians = ' | '.join(f'{statistics.median(column):.4f}' for column in zip(*rows, strict=True))
  megabytes = run_summary.count(state) * 4e-6
  print(f'| {size} | {megabytes:,.1f} | {medians} | {first:.2f} |', flush=True)


def save_and_restore(workdir, step, state, abstract):
  """Returns seconds for the lock, the save until training continues, the full save, the restore."""
  batches = iter(grain.MapDataset.range(9).to_iter_dataset())
  start = time.perf_counter()
  with lock.held(workdir):
    taken = time.perf_counter() - start
    with contextlib.closing(checkpoint.Checkpoints(workdir, 1, create=True)) as checkpoints:
      start = time.perf_counter()
      checkpoints.save(step, state, batches, {}, 0.0)
      blocked = time.perf_counter() - start
      checkpoints.wait()
      saved = time.perf_counter() - start
      anything = lambda record: None
      restored = seconds(lambda: checkpoints.restore(step, abstract, batches, check=anything).state)
  return taken, blocked, saved, restored


def main(sizes):
  print('| size | MB | lock | save blocks | saved | restored | checksum | first checksum |')
  print('| --- ' * 8 + '|')
  for size in sizes:
    with tempfile.TemporaryDirectory() as workdir:
      measure(size, workdir)


if __name__ == '__main__':
  main(sys.argv[1:] or ['tiny', 'small'])
