"""Missing devices and exhausted memory, reported in one line before anything is lost."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import jax

from posjax.errors import UserError, one_line

GIB = 2.0**30
LESS = (
  'raise train.accumulate, set model.remat=true, spread the weights over more devices with mesh, '
  'or lower train.batch or evaluate.multiples'
)
EXTRAS = {'cuda': 'cuda', 'gpu': 'cuda', 'tpu': 'tpu'}  # extras of setup.py by JAX platform
CGROUP_LIMIT = pathlib.Path('/sys/fs/cgroup/memory.max')


def check_devices() -> None:
  """Raises UserError if the device that JAX_PLATFORMS names is missing or not installed."""
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # AssertionError, without text: no CUDA plugin
    name = 'JAX_PLATFORMS' if jax.config.jax_platforms else 'JAX_PLATFORM_NAME'
    wanted = os.environ.get(name, '')
    extra = EXTRAS.get(wanted.partition(',')[0])
    install = f"pip install -e '.[{extra}]', or " if extra else ''
    why = f' ({one_line(error)[:200]})' if str(error) else ''
    raise UserError(
      f'{name}={wanted}: there is no such device here{why}; {install}unset {name}'
    ) from error


def planned(compiled: jax.stages.Compiled) -> int:
  """Returns the bytes of a compiled function on one device: arguments and temporaries."""
  memory = compiled.memory_analysis()
  return memory.argument_size_in_bytes + memory.temp_size_in_bytes


def host_memory() -> int:
  """Returns the bytes of memory of this machine or its cgroup, whichever is less."""
  machine = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  limit = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.exists() else 'max'
  return machine if limit == 'max' else min(machine, int(limit))


def device_memory() -> int:
  """Returns the bytes available on each local device; CPU devices share the machine's memory."""
  if jax.default_backend() == 'cpu':
    return host_memory() // jax.local_device_count()
  return min(device.memory_stats()['bytes_limit'] for device in jax.local_devices())


def check_memory(compiled: jax.stages.Compiled) -> None:
  """Raises UserError if a compiled function needs more memory than the machine has.

  An accelerator reports this error itself; on a CPU, the system would kill the program without a
  message.
  """
  if jax.default_backend() == 'cpu':
    needed, there = planned(compiled) * jax.local_device_count(), host_memory()
    if needed > there:
      raise UserError(
        f'out of memory: a training step needs {needed / GIB:.1f} GiB, and this machine has '
        f'{there / GIB:.1f}; {LESS}'
      )


@contextlib.contextmanager
def memory_as_user_error() -> Iterator[None]:
  """Raises UserError if a device is missing, or if memory is exhausted in the block."""
  check_devices()
  try:
    yield
  except MemoryError as error:
    raise UserError(f'out of memory: {one_line(error)}; {LESS}') from error
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise UserError(f'out of memory: {one_line(error)[:200]}; {LESS}') from error
