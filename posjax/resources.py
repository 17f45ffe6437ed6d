"""Memory and disks that give out: one line with what to change, before anything is lost."""

import contextlib
import os

import jax

from posjax.config import UserError, one_line

GIB = 2.0**30
ELSEWHERE = 'make room there or let it be written, and give the same command again'
LESS = (
  'lower train.batch, raise train.accumulate, set model.remat=true, or spread the weights over '
  'more devices with mesh'
)


def planned(compiled):
  """Bytes that a compiled function takes on one device: what it is given, and temporaries."""
  memory = compiled.memory_analysis()
  return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def check_memory(compiled):
  """Raises UserError if the machine has less memory than a compiled function is planned to take.

  An accelerator would refuse by itself; a CPU takes on all it is asked for, until the system kills
  the program without a word.
  """
  if jax.default_backend() == 'cpu':
    needed = planned(compiled) * jax.local_device_count()
    there = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    if needed > there:
      raise UserError(
        f'out of memory: a training step needs {needed / GIB:.1f} GiB, and this machine has '
        f'{there / GIB:.1f}; {LESS}'
      )


@contextlib.contextmanager
def explained(workdir):
  """Inside, memory and disks that give out raise UserError; `workdir` is what is written to."""
  try:
    yield
  except MemoryError as error:
    raise UserError(f'out of memory: {one_line(error)}; {LESS}') from error
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise UserError(f'out of memory: {one_line(error)[:200]}; {LESS}') from error
  except BrokenPipeError:
    raise  # nothing of the run's: who reads its output has gone
  except OSError as error:
    raise UserError(f'{error.filename or workdir}: {error.strerror}; {ELSEWHERE}') from error
