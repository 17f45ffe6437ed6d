"""A run as a command line asks for it: its config, its name and its folder."""

import os
import shlex
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict

from posjax import config as config_lib
from posjax.config import flags as flags_lib
from posjax.config import identity, validation
from posjax.config.overrides import drop_unread
from posjax.errors import UserError, one_line
from posjax.runtime import files


class Run(NamedTuple):
  """What a command line asks for."""

  config: ConfigDict
  path: os.PathLike  # of the config's file
  name: str
  workdir: str
  command: str  # the command line less what concerns one call only: mode, checkpoint, prompt
  flags: flags.FlagValues


def parse(argv: list[str]) -> Run:
  """The `Run` that a command line asks for, validated; or prints the help and exits.

  Raises:
    UserError: for everything that can be wrong with it.
  """
  values = flags_lib.define()
  try:
    overrides = values(argv, known_only=True)[1:]
  except flags.IllegalFlagValueError as error:  # no flag but a boolean one refuses anything
    raise UserError(f'{str(error).split()[1].rstrip(":")} must be true or false') from error
  except (flags.Error, ValueError) as error:
    raise UserError(one_line(error)) from error
  if values.help:
    print(flags_lib.usage(), flush=True)
    raise SystemExit(0)
  flags_lib.check(values, overrides)
  files.check_local('--workdir', values.workdir)
  workdir = os.path.expanduser(values.workdir)
  if values.config:
    config, path, name = of_file(values.config, overrides)
  else:
    config, path, name = of_run(workdir, overrides)
  workdir = workdir or os.path.join('runs', name)
  lasting = [f'--{k}={values[k].value}' for k in ('config', 'workdir') if values[k].value]
  command = f'{flags_lib.PROGRAM} {shlex.join([*lasting, *overrides])}'
  return Run(config, path, name, workdir, command, values)


def of_file(spec, overrides):
  """(config, path of its file, name of the run) of what --config names, with overrides set."""
  config, path, size = config_lib.load(spec, overrides)
  validation.validate(config)
  if config.init.run and not config.init.source:
    from posjax import warm_start  # and jax and Orbax, without which a command line is judged

    warm_start.identify(config.init)
  return config, path, identity.run_name(config, path.stem, size)


def of_run(workdir, overrides):
  """The same of the run whose checkpoints are in `workdir`."""
  from posjax import state

  record = state.record(workdir, 'newest')
  config, path = config_lib.from_record(record['config']), config_lib.CONFIGS / 'base.py'
  config_lib.override(config, overrides, path)
  drop_unread(config)
  validation.validate(config)
  return config, path, record.get('name', os.path.basename(os.path.abspath(workdir)))
