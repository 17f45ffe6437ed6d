"""The input pipeline: tokens that one host makes in a second of CPU time, by rows and row length.

Without a model and without a device; every host of a run makes all batches. One process, so one
core: compare it with what the devices of all hosts consume together (docs/scale.md).

  python experiments/input_rate.py
"""

import time

from posjax import config as config_lib
from posjax import state
from posjax.data import pipeline

SHAPES = (64, 512), (512, 2048), (16, 32_768)
SECONDS = 4.0  # of CPU time in a measurement


def rate(rows, length):
  """Returns tokens per CPU second, after the first batch."""
  settings = f'train.batch={rows}', f'train.length={length}', 'evaluate.multiples=1'
  config, _, _ = config_lib.load('rope', [f'--config.{setting}' for setting in settings])
  data = state.setup(config).open()
  batches = pipeline.batches(
    data.train, name=data.name, length=length, answers=length, batch=rows, seed=0
  )
  next(batches)
  start, tokens = time.process_time(), 0
  while time.process_time() - start < SECONDS:
    tokens += next(batches).stream.x.size
  return tokens / (time.process_time() - start)


def main():
  print('| rows | tokens in a row | million tokens per CPU second |', flush=True)
  print('| --- | --- | --- |')
  for rows, length in SHAPES:
    print(f'| {rows:,} | {length:,} | {rate(rows, length) / 1e6:.1f} |', flush=True)


if __name__ == '__main__':
  main()
