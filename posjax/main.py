"""Trains, evaluates, plans and generates: `python -m posjax.main --help`."""

# ruff: noqa: E402  (`begin` runs before the slow imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import gc
import shlex
import sys
import time

from absl import app, flags, logging

from posjax import config as config_lib
from posjax.config.flags import PROGRAM
from posjax.run import Run, read, resolve
from posjax.runtime import allocator, devices


def start(run: Run, slices: int = 0) -> int:
  """Executes `run` and returns the exit code; jax is first imported here.

  `slices` is the number of simulated slices; 0: the devices of this machine.
  """
  config, workdir, values = run.config, run.workdir, run.flags
  if values.print_config:
    print(f'# {run.command}\n# writes to {workdir}\n\n{config_lib.describe(config, run.path)}')
    return 0
  trains = values.mode == 'train' and not values.dry_run
  from posjax.runtime import compile_cache, memory

  compile_cache.keep(workdir if trains else None)
  with memory.memory_as_user_error():
    if trains:
      from posjax import train

      seconds = time.perf_counter() - program.STARTED
      # The work directory stores the config.
      command = f'{PROGRAM} {shlex.join([f"--workdir={workdir}"])}'
      train.run(
        config, workdir, name=run.name, import_seconds=seconds, command=command,
        profile=int(values.profile or 0),
      )
    elif values.dry_run:
      from posjax import plan

      return plan.run(config, run.name, values.device, slices)
    elif values.mode == 'evaluate':
      from posjax import evaluate

      evaluate.run(
        config, workdir, name=run.name, checkpoint=values.checkpoint, command=run.command
      )
    else:
      from posjax import generate

      generate.run(config, workdir, checkpoint=values.checkpoint, prompt=values.prompt)
  return 0


def run(argv: list[str]) -> int:
  """Executes a command line, on all hosts that it names; returns the exit code."""
  values, overrides = read(argv)
  slices = devices.simulate(values.devices) if values.devices else 0
  if int(values.hosts or 1) == 1:
    return start(resolve(values, overrides), slices)
  from posjax.runtime import hosts

  host = int(values.host) if values.host else None
  with hosts.joined(int(values.hosts), values.coordinator, host):
    return start(hosts.together(lambda: resolve(values, overrides)))


def main(argv: list[str]) -> int:
  allocator.keep_freed_memory()
  gc.set_threshold(100_000)  # modules and compiled programs are never freed: scan them rarely
  logging.set_verbosity(logging.FATAL)  # Orbax logs each file, and errors that it also raises
  return program.run_program(lambda: run(argv))


def keep_argv(argv: list[str]) -> list[str]:
  """Marks absl's own flags as parsed, since Grain reads some of them; `parse` reads ours."""
  flags.FLAGS(argv[:1])
  return argv


if __name__ == '__main__':
  sys.unraisablehook = lambda _: None  # Orbax also raises the errors of its threads
  app.run(main, flags_parser=keep_argv)
