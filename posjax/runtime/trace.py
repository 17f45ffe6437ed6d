"""A trace of some training steps, by JAX's profiler: what ran when, on the host and the devices."""

import itertools
import os

import jax
import tqdm

from posjax.errors import UserError

SKIPPED = 3  # steps before the first one that is traced: caches and memory pools fill


def check(steps, left):
  """Raises UserError if a run that has `left` steps to take cannot trace `steps` of them."""
  if left < steps + SKIPPED:
    raise UserError(
      f'--profile={steps}: takes {steps + SKIPPED} steps, the first {SKIPPED} untraced; '
      f'this run has {left} left'
    )


def traced(step, steps, directory):
  """The function `step`, of which calls SKIPPED + 1 to SKIPPED + `steps` are traced.

  The trace is written into `directory` after the last of them; how to open it is printed.
  """
  calls = itertools.count(1)

  def call(*arguments):
    number = next(calls)
    if number == SKIPPED + 1:
      jax.profiler.start_trace(directory, create_perfetto_trace=True)
    with jax.profiler.StepTraceAnnotation('train', step_num=number):
      result = step(*arguments)
    if number == SKIPPED + steps:
      jax.block_until_ready(result)
      jax.profiler.stop_trace()
      file = max(directory.glob('plugins/profile/*/perfetto_trace.json.gz'), key=os.path.getmtime)
      tqdm.tqdm.write(  # above the bar of progress
        f'profile    {file}; open it at https://ui.perfetto.dev\n'
        f'           or: pip install xprof; xprof --logdir={directory}'
      )
    return result

  return call
