"""A trace of some training steps by JAX's profiler: a timeline of the host and the devices."""

import itertools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import tqdm

from posjax.errors import UserError

SKIPPED = 3  # untraced first steps, in which caches and memory pools fill


def check(steps: int, left: int) -> None:
  """Raises UserError if a run with `left` remaining steps is too short to trace `steps` steps."""
  if left < steps + SKIPPED:
    raise UserError(
      f'--profile={steps}: takes {steps + SKIPPED} steps, the first {SKIPPED} untraced; '
      f'this run has {left} left'
    )


def traced(step: Callable[..., Any], steps: int, directory: pathlib.Path) -> Callable[..., Any]:
  """Returns `step`, wrapped so that calls SKIPPED + 1 to SKIPPED + `steps` are traced.

  The last traced call writes the trace into `directory` and prints how to open it.
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
      tqdm.tqdm.write(  # above the progress bar
        f'profile    {file}; open it at https://ui.perfetto.dev\n'
        f'           or: pip install xprof; xprof --logdir={directory}'
      )
    return result

  return call
