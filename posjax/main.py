"""Trains, evaluates and samples from language models, to compare their positional encodings.

  python -m posjax.main --config=NAME[:SIZE] [--config.KEY=VALUE ...] [flags]
  python -m posjax.main --workdir=RUN [--mode=MODE] [--config.KEY=VALUE ...] [flags]

A run's folder knows its config: it is enough to go on with it, evaluate it or generate from it.
"""

# ruff: noqa: E402  (a program begins before its imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import gc
import os
import re
import shlex
import sys
import time
from typing import NamedTuple

from absl import app, flags, logging
from ml_collections import ConfigDict

from posjax import command_line, identity, validation
from posjax import config as config_lib
from posjax.errors import UserError, one_line, one_of
from posjax.runtime import allocator, devices

PROGRAM = 'python -m posjax.main'
MODES = ('train', 'evaluate', 'generate')

FLAGS = {  # name: (default, meaning)
  'config': ('', 'name or file of a config and, after a colon, the size'),
  'workdir': ('', 'folder of the run; by default runs/CONFIG-SIZE-DIGEST'),
  'mode': ('train', 'train, evaluate or generate'),
  'checkpoint': ('newest', 'to evaluate or to generate from: newest, best or a step'),
  'prompt': (None, 'text to continue; by default what is read from standard input'),
  'print_config': (False, 'print every key with its value and meaning, and exit'),
  'dry_run': (False, 'build, compile and count, and say whether it fits; take no training step'),
  'device': ('', f'with --dry_run: plan for it, one of {", ".join(devices.ACCELERATORS)}'),
  'profile': ('', 'trace this many training steps into WORKDIR/profile, after the first few'),
  'help': (False, 'print this, and exit'),
}

# The modes in which a flag means something, where that is not all.
ONLY_IN = {
  'checkpoint': ('evaluate', 'generate'),
  'prompt': ('generate',),
  'dry_run': ('train',),
  'device': ('train',),
  'profile': ('train',),
}

EPILOGUE = """
Exit codes: 0 done, or saved after Ctrl-C; 42 after SIGTERM; 130 Ctrl-C with nothing to save;
2 something must be changed: the command line, the config, the disk, the memory, the devices or what
is installed; 3 diverged. With --dry_run: 0 it fits; 2 it does not, or its text cannot be had.
Compiled programs are kept in ~/.cache/posjax, or JAX_COMPILATION_CACHE_DIR, for the next run;
JAX_ENABLE_COMPILATION_CACHE=false keeps none.
Every key with its meaning: python -m posjax.main --config=rope --print_config"""


class Run(NamedTuple):
  """What a command line asks for."""

  config: ConfigDict
  path: os.PathLike  # of the config's file
  name: str
  workdir: str
  command: str  # the command line less what concerns one call only: mode, checkpoint, prompt
  flags: flags.FlagValues


def parse(argv):
  """The `Run` that a command line asks for, validated; or prints the help and exits.

  Raises:
    UserError: for everything that can be wrong with it.
  """
  values = define_flags()
  try:
    overrides = values(argv, known_only=True)[1:]
  except flags.IllegalFlagValueError as error:  # no flag but a boolean one refuses anything
    raise UserError(f'{str(error).split()[1].rstrip(":")} must be true or false') from error
  except (flags.Error, ValueError) as error:
    raise UserError(one_line(error)) from error
  if values.help:
    print(usage(), flush=True)
    raise SystemExit(0)
  check_flags(values, overrides)
  validation.check_local('--workdir', values.workdir)
  workdir = os.path.expanduser(values.workdir)
  if values.config:
    config, path, name = of_file(values.config, overrides)
  else:
    config, path, name = of_run(workdir, overrides)
  workdir = workdir or os.path.join('runs', name)
  lasting = [f'--{k}={values[k].value}' for k in ('config', 'workdir') if values[k].value]
  command = f'{PROGRAM} {shlex.join([*lasting, *overrides])}'
  return Run(config, path, name, workdir, command, values)


def of_file(spec, overrides):
  """(config, path of its file, name of the run) of what --config names, with overrides set."""
  config, path, size = command_line.load(spec, overrides)
  validation.validate(config)
  if config.init.run and not config.init.source:
    from posjax import warm_start  # and jax and Orbax

    warm_start.identify(config.init)
  return config, path, identity.run_name(config, path.stem, size)


def of_run(workdir, overrides):
  """The same of the run whose checkpoints are in `workdir`."""
  from posjax import state

  record = state.record(workdir, 'newest')
  config, path = config_lib.from_record(record['config']), config_lib.ROOT / 'configs/base.py'
  command_line.override(config, overrides, path)
  command_line.drop_unread(config)
  validation.validate(config)
  return config, path, record.get('name', os.path.basename(os.path.abspath(workdir)))


def define_flags():
  values = flags.FlagValues()
  values.set_gnu_getopt()  # flags and overrides may come in any order
  for name, (default, meaning) in FLAGS.items():
    define = flags.DEFINE_boolean if default is False else flags.DEFINE_string
    define(name, default, meaning, flag_values=values)
  return values


def check_flags(values, overrides):
  """Raises UserError for a flag that does not exist, is missing, or has no meaning."""
  for argument in overrides:
    unknown = re.match(r'--?(?!(?:no)?config\.)([a-zA-Z][^=]*)', argument)
    if unknown:
      raise UserError(f'--{unknown[1]}: no such flag; {nearest_flag(unknown[1])}')
  if not values.config and not values.workdir:
    raise UserError(
      f'--config is missing, for example {PROGRAM} --config=configs/rope.py; '
      f'{one_of("", config_lib.available())}'
    )
  if values.mode not in MODES:
    raise UserError(f'--mode={values.mode}: {one_of(values.mode, MODES)}')
  validation.check_checkpoint('--checkpoint', values.checkpoint)
  if not re.fullmatch('([1-9][0-9]{0,5})?', values.profile):
    raise UserError(f'--profile={values.profile}: it must be a number of steps, such as 5')
  if values.profile and values.dry_run:
    raise UserError('--profile: not with --dry_run, which takes no step')
  for name, modes in ONLY_IN.items():
    if values[name].present and values.mode not in modes:
      raise UserError(f'--{name}: only for --mode={" or --mode=".join(modes)}')
  if values.device:
    devices.find(values.device)
    if not values.dry_run:
      raise UserError(f'--device={values.device}: only with --dry_run')


def nearest_flag(name):
  keys = config_lib.flatten(config_lib.base().get_config())
  close = config_lib.nearest_key(name, [*FLAGS, *(f'config.{key}' for key in keys)])
  return f'did you mean --{close}?' if close else f'there are --{", --".join(FLAGS)}'


def usage():
  rows = {f'--{name}': meaning for name, (_, meaning) in FLAGS.items()}
  rows['--config.KEY'] = 'any key of the config'
  sizes = ', '.join(config_lib.base().SIZES)
  lines = [__doc__, *(f'  {row:<15} {meaning}' for row, meaning in rows.items())]
  lines += ['', f'Sizes: {sizes}; the first unless given. Configs:', '']
  lines += [f'  {name:<15} {meaning}' for name, meaning in config_lib.available().items()]
  return '\n'.join([*lines, EPILOGUE])


def start(run):
  """Does what `run` asks for and returns the exit code. Here, at last, jax is imported."""
  config, workdir, values = run.config, run.workdir, run.flags
  if values.print_config:
    print(f'# {run.command}\n# writes to {workdir}\n\n{command_line.describe(config, run.path)}')
    return 0
  trains = values.mode == 'train' and not values.dry_run
  from posjax.runtime import compile_cache, memory

  compile_cache.keep(workdir if trains else None)
  with memory.explained():
    if trains:
      from posjax import train

      seconds = time.perf_counter() - program.STARTED
      # Its folder knows the rest.
      command = f'{PROGRAM} {shlex.join([f"--workdir={workdir}"])}'
      train.run(
        config, workdir, name=run.name, import_seconds=seconds, command=command,
        profile=int(values.profile or 0),
      )
    elif values.dry_run:
      from posjax import plan

      return plan.run(config, run.name, values.device)
    elif values.mode == 'evaluate':
      from posjax import evaluate

      evaluate.run(
        config, workdir, name=run.name, checkpoint=values.checkpoint, command=run.command
      )
    else:
      from posjax import generate

      generate.run(config, workdir, checkpoint=values.checkpoint, prompt=values.prompt)
  return 0


def main(argv):
  allocator.keep_freed_memory()
  gc.set_threshold(100_000)  # else it looks again and again at modules and programs, which all stay
  logging.set_verbosity(logging.FATAL)  # Orbax logs each file at INFO, and as errors what it raises
  return program.answer(lambda: start(parse(argv)))


def keep_argv(argv):
  """Marks absl's own flags as parsed, since Grain reads some of them; `parse` reads ours."""
  flags.FLAGS(argv[:1])
  return argv


if __name__ == '__main__':
  sys.unraisablehook = lambda _: None  # what Orbax's threads run into, it raises as well
  app.run(main, flags_parser=keep_argv)
