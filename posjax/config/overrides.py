"""Changes of a config by a command line: --config.KEY=VALUE.

ml_collections parses the overrides; this module rejects mistakes that ml_collections accepts.
"""

import ast
import functools
import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from posjax.config import files, validation
from posjax.config.comments import nearby
from posjax.config.keys import NAMING, check_types, flatten, layers_of, mistyped, no_key
from posjax.errors import UserError, one_line, show


def load(spec: str, overrides: Sequence[str] = ()) -> tuple[ConfigDict, Path, str]:
  """Loads a config and applies overrides such as '--config.train.steps=500'.

  Args:
    spec: the value of --config: 'rope', 'configs/rope.py', 'rope:small', …
    overrides: arguments of a command line.

  Returns:
    The locked ConfigDict, the path of its file, and the size.

  Raises:
    UserError: the file or an override is invalid.
  """
  config, path, size = files.load(spec)
  override(config, overrides, path)
  return config, path, size


def override(config: ConfigDict, arguments: Sequence[str], path: Path) -> None:
  """Applies overrides to `config`, which was loaded from `path`; ml_collections parses them."""
  given, in_file = keys_of(arguments), flatten(config)
  if any(key.startswith(files.OPEN) and key not in in_file for key in given):
    arguments = add_arguments(config, arguments)
  before, keys = flatten(config), keys_of(arguments)
  for key in keys:
    if key not in before:
      raise UserError(f'--config.{key}: {no_key(key, before, path)}')
    if hasattr(ConfigDict, key.rpartition('.')[2]):  # ml_collections would get the method
      raise UserError(f'--config.{key}: also a method of ConfigDict; set it in {nearby(path)}')
    if isinstance(before[key], tuple) and keys.count(key) > 1:  # values would be concatenated
      raise UserError(f'--config.{key}: given {keys.count(key)} times; give it once, as A,B,C')
  flag_values = flags.FlagValues()
  flag_values.set_gnu_getopt()
  argv = ['posjax', *spell_out(arguments, before)]
  try:
    config_flags.DEFINE_config_dict('config', config, flag_values=flag_values, sys_argv=argv)
    leftovers = flag_values(argv)[1:]
  except flags.IllegalFlagValueError as error:
    key, value = re.match(r'flag --config\.([^=]*)=(.*?): ', str(error), re.DOTALL).groups()
    raise mistyped(key, value, before[key]) from error
  except (flags.Error, ValueError) as error:
    raise UserError(one_line(error)) from error
  if leftovers:
    raise UserError(
      f'{leftovers[0]}: not a flag; flags look like --config.seed=1, and spaces need quotes'
    )
  for key in keys:  # ml_collections accepts any literal in a tuple, such as 1j, which is not JSON
    value = functools.reduce(lambda section, name: section[name], key.split('.'), config)
    if isinstance(value, tuple) and {*map(type, value)} - {bool, int, float, str}:
      raise mistyped(key, value, before[key])
  check_types(flatten(config), before)
  for key in keys:  # ml_collections reads 1,2 as two integers, but a,b as one word
    if isinstance(before[key], tuple) and set(map(type, before[key])) == {str}:
      words = ','.join(flatten(config)[key])
      config.update_from_flattened_dict({key: tuple(words.split(',')) if words else ()})
  drop_arguments(config, keep={*in_file, *given})
  if any('.scaling.' in key for key in given):
    add_trained_length(config)
  if 'train.steps' in keys and 'optimizer.warmup' not in keys:
    shorten_warmup(config)


def spell_out(arguments: Sequence[str], before: dict[str, Any]) -> list[str]:
  """Returns arguments with 1e3 spelled out as 1000 where the flat config `before` has integers."""

  def integer(match):
    number = Decimal(match[0])
    return str(int(number)) if number == int(number) else match[0]

  spelled, expected = [], ''
  for argument in arguments:
    match = re.match(r'(--?config\.([^=]*)=?)(.*)', argument, re.DOTALL)
    flag, key, value = match.groups() if match else ('', expected, argument)
    old = before.get(key, '')
    if {*map(type, old if isinstance(old, tuple) else (old,))} == {int}:
      value = re.sub(r'(?<![\w.])\d+(\.\d+)?[eE]\+?\d{1,2}(?![\w.])', integer, value)
    spelled.append(flag + value)
    expected = key if flag.endswith(key) else ''  # its value is the next argument
  return spelled


def shorten_warmup(config: ConfigDict) -> None:
  """Shortens a warm-up that is too long for train.steps to a tenth of them, and warns.

  Raises:
    UserError: a single value is invalid.
  """
  validation.check_values(config)
  steps, warmup = config.train.steps, config.optimizer.warmup
  most = validation.longest_warmup(config)
  if warmup > most:
    config.optimizer.warmup = min(most, max(1, steps // 10))
    warnings.warn(
      f'optimizer.warmup {warmup} -> {config.optimizer.warmup}, since train.steps = {steps}',
      stacklevel=2,
    )


def keys_of(arguments: Iterable[str]) -> list[str]:
  return [m[1] for a in arguments if (m := re.match(r'--?(?:no)?config\.([^=]*)', a))]


def add_arguments(config: ConfigDict, overrides: Sequence[str]) -> list[str]:
  """Adds the sections of encodings and the task whose keys `overrides` set, with all arguments.

  An argument that is a dictionary, such as `rope.scaling`, accepts any key here; the encoding
  checks it.

  Returns:
    The remaining overrides.

  Raises:
    UserError: there is no such encoding or task, or nothing reads the section.
  """
  flag = re.compile(r'--?config\.((?:encoding|task|model)\.[^=]*)=(.*)', re.DOTALL)
  found = [flag.match(override) for override in overrides]
  pairs = [(match[1], match[2]) if match else ('', '') for match in found]
  sections = sections_of(config, dict(pairs))
  left = []
  for override, (path, value) in zip(overrides, pairs, strict=True):
    shelf, section, *keys = path.split('.', 3) if path else ('', '')
    name = f'{shelf}.{section}'
    if name in sections:
      given = config[shelf].get(section, ConfigDict()).to_dict()
      own = {**sections[name], **given}
      argument, inner = [*keys, '', ''][:2]
      if opened := isinstance(own.get(argument), dict):
        if not inner:
          raise UserError(f'--config.{path}: a dictionary; set its keys one by one')
        own[argument] = {**own[argument], inner: parse(value)}
      with config.unlocked():
        config[shelf][section] = own
      if opened:
        continue
    elif keys:
      check_read(config, path, dict(pairs))
    left.append(override)
  return left


def sections_of(config: ConfigDict, given: dict[str, str]) -> dict[str, dict[str, Any]]:
  """Returns {section: {argument: default}} of the encodings and the task that `given` selects."""
  from posjax import encodings, tasks  # imports jax, which most command lines do not need

  layers, name = read_by(config, given)
  parts = encodings.sections_of(layers)
  kinds = {part: encodings.find(encodings.unlabelled(part)) for part in parts}
  found = {f'encoding.{part}': encodings.arguments(kind) for part, kind in kinds.items()}
  return found | {f'task.{name}': tasks.arguments(tasks.find(name))}


def read_by(config: ConfigDict, given: dict[str, str]) -> tuple[tuple[str, ...], str]:
  """Returns (encodings, task name) that `config` names with the overrides `given`, {key: text}."""
  named = {key: tuple(given[key].split(',')) for key in NAMING if given.get(key)}
  layers = layers_of(flatten(config) | named)
  return layers, given.get('task.name', config.task.name)


def check_read(config: ConfigDict, path: str, given: dict[str, str]) -> None:
  """Raises UserError for an argument of an encoding or a task that the config does not use."""
  from posjax import encodings, tasks

  shelf, section, _ = path.split('.', 2)
  layers, name = read_by(config, given)
  if shelf == 'encoding' and encodings.unlabelled(section) in encodings.names():
    raise UserError(
      f'--config.{path}: encoding.layers is {show(layers)}, so no layer would read it; '
      f'add {section} to the layers'
    )
  if shelf == 'task' and section in tasks.names():
    raise UserError(
      f'--config.{path}: task.name is {name}, so that nothing would read it; set '
      f'--config.task.name={section}'
    )


def drop_arguments(config: ConfigDict, keep: Collection[str]) -> None:
  """Drops unset arguments that `add_arguments` added, to keep them out of a run's identity."""
  for shelf in ('encoding', 'task'):
    for name, section in config[shelf].items():
      if isinstance(section, ConfigDict):
        for argument in [*section]:
          own = f'{shelf}.{name}.{argument}'
          if not any(key == own or key.startswith(f'{own}.') for key in keep):
            with config.unlocked():
              del section[argument]


def drop_unread(config: ConfigDict) -> None:
  """Drops the sections of encodings and tasks that the config no longer uses."""
  from posjax import encodings

  read = {
    'encoding': ('layers', *encodings.sections_of(layers_of(flatten(config)))),
    'task': ('name', config.task.name),
  }
  with config.unlocked():
    for shelf, sections in read.items():
      for section in [*config[shelf]]:
        if section not in sections:
          del config[shelf][section]


def add_trained_length(config: ConfigDict) -> None:
  """Adds train.length to RoPE scalings whose type needs a trained length and that have none."""
  from posjax.encodings.parts import scaling_check

  for section in config.encoding.values():
    if isinstance(section, ConfigDict) and 'scaling' in section:
      with config.unlocked():
        section.scaling = scaling_check.of_trained_length(section.scaling, config.train.length)


def parse(text: str) -> Any:
  """Parses '4' as 4, '1,2.5' as (1, 2.5), 'true' as True; returns other text as it is."""
  try:
    return ast.literal_eval(text.title() if text in ('true', 'false') else text)
  except (ValueError, SyntaxError):
    return text
