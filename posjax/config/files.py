"""Config files: found, loaded and checked against configs/base.py, all of it without jax.

configs/base.py is the schema: nothing may stand in a config that does not stand there, but for the
arguments of encodings. Whatever a user gets wrong becomes a UserError of one line.
"""

import contextlib
import importlib.util
import inspect
import os
import sys
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from posjax.config.comments import CONFIGS, nearby
from posjax.config.keys import check_types, flatten
from posjax.errors import UserError, one_line, one_of

FOLDERS = CONFIGS, CONFIGS / 'tasks'  # where a config is found by its name
OPEN = 'encoding.', 'task.'  # sections whose parts judge their own arguments


def load(spec):
  """Loads a config; `overrides` sets what a user changes, `validation` judges the values.

  Args:
    spec: what --config names: 'rope', 'configs/rope.py', 'rope:small', …

  Returns:
    The locked ConfigDict, the path of its file, and the size.

  Raises:
    UserError: no such file or size, code that raises, keys or types that are not base.py's.
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


def from_record(values):
  """The config of a run, from the plain dict that its checkpoints and results hold.

  A key that base.py has got since has the value there, with which nothing has changed.

  Raises:
    UserError: it has keys or types that are not base.py's.
  """
  config = base().get_config()
  like = flatten(config)
  known = {k: v for k, v in flatten(values).items() if not k.startswith(OPEN)}
  check_types(like | known, like)
  config.update_from_flattened_dict(known)
  config.encoding = _tuples(values['encoding'])
  config.task = _tuples(values['task'])
  config.lock()
  return config


def _tuples(value):
  """What was a tuple before it was JSON."""
  if isinstance(value, dict):
    return {key: _tuples(inner) for key, inner in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def find(name):
  """The path of a config, from here, or of one that comes with posjax."""
  file = name if name.endswith('.py') else f'{name}.py'
  for folder in (Path(), CONFIGS.parent, *FOLDERS):
    path = folder / os.path.expanduser(file)
    if os.path.isfile(path):  # unlike Path's, for which some names are errors
      return path
  raise UserError(f'--config={name}: no such file; {one_of(Path(name).stem, available())}')


def available():
  """{name: first line of its docstring} of the configs that come with posjax."""
  paths = [path for folder in FOLDERS for path in sorted(folder.glob('[a-z]*.py'))]
  lines = {path.stem: path.read_text().partition('\n')[0].strip('"') for path in paths}
  return {name: line for name, line in lines.items() if name != 'base'}


def base():
  """The module configs/base.py; from here on, config files can import it wherever they are."""
  if 'configs' not in sys.modules:
    places = dict(submodule_search_locations=[str(CONFIGS)])
    spec = importlib.util.spec_from_file_location('configs', CONFIGS / '__init__.py', **places)
    sys.modules['configs'] = importlib.util.module_from_spec(spec)
  with blame_file(CONFIGS / 'base.py'):
    return importlib.import_module('configs.base')


@contextlib.contextmanager
def blame_file(path):
  """Turns whatever the code of the config file at `path` raises into a UserError with its line."""
  try:
    yield
  except (Exception, SystemExit) as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f':{f.lineno}' for f in frames if Path(f.filename).resolve() == path.resolve()]
    where = f'{nearby(path)}{"".join(lines[-1:])}'
    raise UserError(f'{where}: {type(error).__name__}: {one_line(error)}') from error
