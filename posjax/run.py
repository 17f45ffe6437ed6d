"""Parses a command line into a run: its config, its name and its work directory."""

import os
import shlex
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict

from posjax import config as config_lib
from posjax.config import flags as flags_lib
from posjax.config import identity, validation
from posjax.config.overrides import drop_unread
from posjax.errors import UserError, one_line
from posjax.runtime import remote


class Run(NamedTuple):
  """A run, as given by a command line."""

  config: ConfigDict
  path: os.PathLike  # of the config's file
  name: str
  workdir: str
  command: str  # the command line without flags of a single call: mode, checkpoint, prompt
  flags: flags.FlagValues


def parse(argv: list[str]) -> Run:
  """Returns the validated `Run` of a command line; with --help, prints the help and exits.

  Raises:
    UserError: the command line or its config is invalid.
  """
  return resolve(*read(argv))


def read(argv: list[str]) -> tuple[flags.FlagValues, list[str]]:
  """Returns flags and overrides of a command line. Raises UserError if they are invalid."""
  values = flags_lib.define()
  try:
    overrides = values(argv, known_only=True)[1:]
  except flags.IllegalFlagValueError as error:  # only boolean flags reject values
    raise UserError(f'{str(error).split()[1].rstrip(":")} must be true or false') from error
  except (flags.Error, ValueError) as error:
    raise UserError(one_line(error)) from error
  if values.help:
    print(flags_lib.usage(), flush=True)
    raise SystemExit(0)
  flags_lib.check(values, overrides)
  return values, overrides


def resolve(values: flags.FlagValues, overrides: list[str]) -> Run:
  """Returns the validated `Run` of flags and overrides. Raises UserError if they are invalid."""
  remote.check('--workdir', values.workdir)
  workdir = os.path.expanduser(values.workdir)
  if values.config:
    config, path, name = of_file(values.config, overrides)
  else:
    config, path, name = of_run(workdir, overrides)
  workdir = workdir or os.path.join('runs', name)
  lasting = [f'--{k}={values[k].value}' for k in ('config', 'workdir') if values[k].value]
  command = f'{flags_lib.PROGRAM} {shlex.join([*lasting, *overrides])}'
  return Run(config, path, name, workdir, command, values)


def of_file(spec: str, overrides: list[str]) -> tuple[ConfigDict, Path, str]:
  """Returns (config, path of its file, run name) for --config, with overrides applied."""
  config, path, size = config_lib.load(spec, overrides)
  validation.validate(config)
  if (config.init.run or config.init.vectors) and not config.init.source:
    from posjax import warm_start  # imports jax and Orbax, which most command lines do not need

    warm_start.identify(config.init)
  return config, path, identity.run_name(config, path.stem, size)


def of_run(workdir: str, overrides: list[str]) -> tuple[ConfigDict, Path, str]:
  """Returns (config, path, run name) of the run whose checkpoints are in `workdir`."""
  from posjax import state

  record = state.record(workdir, 'newest')
  config, path = config_lib.from_record(record['config']), config_lib.CONFIGS / 'base.py'
  config_lib.override(config, overrides, path)
  drop_unread(config)
  validation.validate(config)
  return config, path, record.get('name', os.path.basename(os.path.abspath(workdir)))
