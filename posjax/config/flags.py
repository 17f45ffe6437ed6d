"""The flags of posjax.main: their meanings, the modes that accept them, and the help."""

import re

from absl import flags

from posjax.config import files, keys, validation
from posjax.errors import UserError, one_of
from posjax.runtime import devices

USAGE = """Trains, evaluates and samples from language models, to compare positional encodings.

  python -m posjax.main --config=NAME[:SIZE] [--config.KEY=VALUE ...] [flags]
  python -m posjax.main --workdir=RUN [--mode=MODE] [--config.KEY=VALUE ...] [flags]

The folder of a run stores its config: --workdir is enough to resume, evaluate or generate.
"""

PROGRAM = 'python -m posjax.main'
MODES = ('train', 'evaluate', 'generate')

FLAGS = {  # name: (default, meaning)
  'config': ('', 'name or file of a config, optionally with a size after a colon'),
  'workdir': ('', 'folder of the run; by default runs/CONFIG-SIZE-DIGEST'),
  'mode': ('train', 'train, evaluate or generate'),
  'checkpoint': ('newest', 'checkpoint to evaluate or generate from: newest, best or a step'),
  'prompt': (None, 'text to continue; by default read from standard input'),
  'print_config': (False, 'print every key with its value and meaning, and exit'),
  'dry_run': (False, 'compile a training step, print its cost and whether it fits; take no step'),
  'device': ('', f'with --dry_run: plan for one of {", ".join(devices.ACCELERATORS)}'),
  'devices': ('', 'with --device: simulate so many, such as 64, or 2x256 for two slices'),
  'hosts': ('', 'number of hosts, each of which runs this same command'),
  'coordinator': ('', 'with --hosts: ADDRESS:PORT of host 0; by default the cluster says it'),
  'host': ('', 'with --coordinator: number of this host, from 0'),
  'profile': ('', 'trace this many training steps into WORKDIR/profile, after the first few'),
  'help': (False, 'print this help, and exit'),
}

# Flags that only some modes accept.
ONLY_IN = {
  'checkpoint': ('evaluate', 'generate'),
  'prompt': ('generate',),
  'dry_run': ('train',),
  'device': ('train',),
  'devices': ('train',),
  'profile': ('train',),
  'hosts': ('train', 'evaluate'),
}

EPILOGUE = """
Exit codes: 0 done, or saved after Ctrl-C; 42 after SIGTERM; 130 Ctrl-C with nothing to save;
2 an error that you can fix: in the command line, config, disk, memory, devices or installed
packages; 3 diverged. With --dry_run: 0 it fits; 2 it does not fit, or its data is unavailable.
Compiled programs are cached in ~/.cache/posjax, or JAX_COMPILATION_CACHE_DIR, for the next run;
JAX_ENABLE_COMPILATION_CACHE=false disables the cache.
Every key with its meaning: python -m posjax.main --config=rope --print_config"""


def define() -> flags.FlagValues:
  """Returns the flags with their defaults; calling them with a command line parses it."""
  values = flags.FlagValues()
  values.set_gnu_getopt()  # flags and overrides may come in any order
  for name, (default, meaning) in FLAGS.items():
    define = flags.DEFINE_boolean if default is False else flags.DEFINE_string
    define(name, default, meaning, flag_values=values)
  return values


def check(values: flags.FlagValues, overrides: list[str]) -> None:
  """Raises UserError for a flag that is unknown, missing, invalid or not accepted by the mode."""
  for argument in overrides:
    unknown = re.match(r'--?(?!(?:no)?config\.)([a-zA-Z][^=]*)', argument)
    if unknown:
      raise UserError(f'--{unknown[1]}: no such flag; {nearest(unknown[1])}')
  if not values.config and not values.workdir:
    raise UserError(
      f'--config is missing, for example {PROGRAM} --config=configs/rope.py; '
      f'{one_of("", files.available())}'
    )
  if values.mode not in MODES:
    raise UserError(f'--mode={values.mode}: {one_of(values.mode, MODES)}')
  validation.check_checkpoint('--checkpoint', values.checkpoint)
  if not re.fullmatch('([1-9][0-9]{0,5})?', values.profile):
    raise UserError(f'--profile={values.profile}: it must be a number of steps, such as 5')
  if values.profile and values.dry_run:
    raise UserError('--profile: not with --dry_run, which takes no step')
  check_hosts(values)
  for name, modes in ONLY_IN.items():
    if values[name].present and values.mode not in modes:
      raise UserError(f'--{name}: only for --mode={" or --mode=".join(modes)}')
  if values.device:
    devices.find(values.device)
    if not values.dry_run:
      raise UserError(f'--device={values.device}: only with --dry_run')
  if values.devices:
    if not re.fullmatch('([1-9][0-9]{0,2}x)?[1-9][0-9]{0,3}', values.devices):
      raise UserError(f'--devices={values.devices}: it must be a number such as 64, or 2x256')
    if not (values.dry_run and values.device):
      raise UserError(f'--devices={values.devices}: only with --dry_run and --device')


def check_hosts(values: flags.FlagValues) -> None:
  """Raises UserError for an invalid or incomplete set of flags about hosts."""
  for name, valid in (('hosts', '[1-9][0-9]{0,5}'), ('host', '[0-9]{1,6}')):
    if values[name].value and not re.fullmatch(valid, values[name].value):
      raise UserError(f'--{name}={values[name].value}: it must be a number, such as 1')
  if not values.hosts and (values.coordinator or values.host):
    raise UserError('--coordinator and --host: only with --hosts, the number of hosts')
  if bool(values.coordinator) != bool(values.host):
    raise UserError('--coordinator and --host: each host needs both, or the cluster says both')
  if values.coordinator and not re.fullmatch(r'.+:[0-9]{1,5}', values.coordinator):
    raise UserError(f'--coordinator={values.coordinator}: must be ADDRESS:PORT, such as host0:8476')
  if values.host and int(values.host) >= int(values.hosts):
    raise UserError(f'--host={values.host}: it must be below --hosts={values.hosts}')


def nearest(name: str) -> str:
  """Returns a hint for a flag that does not exist."""
  there = keys.flatten(files.base().get_config())
  close = keys.nearest_key(name, [*FLAGS, *(f'config.{key}' for key in there)])
  return f'did you mean --{close}?' if close else f'the flags are --{", --".join(FLAGS)}'


def usage() -> str:
  """Returns the text that --help prints."""
  rows = {f'--{name}': meaning for name, (_, meaning) in FLAGS.items()}
  rows['--config.KEY'] = 'any key of the config'
  sizes = ', '.join(files.base().SIZES)
  lines = [USAGE, *(f'  {row:<15} {meaning}' for row, meaning in rows.items())]
  lines += ['', f'Sizes: {sizes}; the default is the first. Configs:', '']
  lines += [f'  {name:<15} {meaning}' for name, meaning in files.available().items()]
  return '\n'.join([*lines, EPILOGUE])
