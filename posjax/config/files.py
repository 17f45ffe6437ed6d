"""Finds config files, loads them, and checks them against configs/base.py, without jax.

configs/base.py is the schema: a config may have no other keys, except arguments of encodings and
tasks. Every user mistake becomes a UserError of one line.
"""

import contextlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from posjax.config.comments import CONFIGS, nearby
from posjax.config.keys import check_types, flatten
from posjax.config.renamed import to_new
from posjax.errors import UserError, one_line, one_of

FOLDERS = CONFIGS, CONFIGS / 'tasks'  # searched for a config by name
OPEN = 'encoding.', 'task.'  # sections whose encodings and tasks check their arguments


def load(spec: str) -> tuple[ConfigDict, Path, str]:
  """Loads a config; `overrides` then applies changes, and `validation` checks the values.

  Args:
    spec: the value of --config: 'rope', 'configs/rope.py', 'rope:small', …

  Returns:
    The locked ConfigDict, the path of its file, and the size.

  Raises:
    UserError: no such file or size, its code raises, or keys or types differ from base.py's.
  """
  name, _, size = spec.partition(':')
  path = find(name)
  schema = base()
  with blame_file(path):
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    sizes = [*map(str, getattr(module, 'SIZES', schema.SIZES))]
  if size and size not in sizes:
    raise UserError(f'--config={spec}: {one_of(size, sizes, "the size")}')
  with blame_file(path):
    call = inspect.signature(module.get_config).bind(*filter(None, [size]))
    call.apply_defaults()
    config = module.get_config(*call.args)
    if not isinstance(config, ConfigDict):
      raise TypeError(f'get_config() returned {config!r}, not a ConfigDict')
    flat, like = flatten(config), flatten(schema.get_config())
  try:
    check_types({k: flat[k] for k in flat if k in like or not k.startswith(OPEN)}, like)
  except UserError as error:
    raise UserError(f'{nearby(path)}: {error}') from error
  config.lock()
  return config, path, ''.join(map(str, filter(None, call.args[:1])))


def from_record(values: dict[str, Any]) -> ConfigDict:
  """Returns the config of a run, from the plain dict in its checkpoints and results.

  Keys that were added to base.py since then have their defaults, which change no behavior.

  Raises:
    UserError: keys or types differ from base.py's.
  """
  config = base().get_config()
  like = flatten(config)
  known = {k: v for k, v in to_new(flatten(values)).items() if not k.startswith(OPEN)}
  check_types(like | known, like)
  config.update_from_flattened_dict(known)
  config.encoding = _tuples(values['encoding'])
  config.task = _tuples(values['task'])
  config.lock()
  return config


def _tuples(value):
  """Returns the value with tuples in place of JSON's lists."""
  if isinstance(value, dict):
    return {key: _tuples(inner) for key, inner in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def find(name: str) -> Path:
  """Returns the path of a config, in the current folder or among those of posjax."""
  file = name if name.endswith('.py') else f'{name}.py'
  for folder in (Path(), CONFIGS.parent, *FOLDERS):
    path = folder / os.path.expanduser(file)
    if os.path.isfile(path):  # Path.is_file raises for some names
      return path
  raise UserError(f'--config={name}: no such file; {one_of(Path(name).stem, available())}')


def available() -> dict[str, str]:
  """Returns {name: first line of its docstring} of the configs that come with posjax."""
  paths = [path for folder in FOLDERS for path in sorted(folder.glob('[a-z]*.py'))]
  lines = {path.stem: path.read_text().partition('\n')[0].strip('"') for path in paths}
  return {name: line for name, line in lines.items() if name != 'base'}


def base() -> ModuleType:
  """Returns the module configs/base.py; from then on, config files in any folder can import it."""
  if 'configs' not in sys.modules:
    places = dict(submodule_search_locations=[str(CONFIGS)])
    spec = importlib.util.spec_from_file_location('configs', CONFIGS / '__init__.py', **places)
    sys.modules['configs'] = importlib.util.module_from_spec(spec)
  with blame_file(CONFIGS / 'base.py'):
    return importlib.import_module('configs.base')


@contextlib.contextmanager
def blame_file(path: Path) -> Iterator[None]:
  """Raises UserError, with the line, for any error in the code of the config file at `path`."""
  try:
    yield
  except (Exception, SystemExit) as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f':{f.lineno}' for f in frames if Path(f.filename).resolve() == path.resolve()]
    where = f'{nearby(path)}{"".join(lines[-1:])}'
    raise UserError(f'{where}: {type(error).__name__}: {one_line(error)}') from error
