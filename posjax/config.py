"""A config: found, loaded, named and printed, all of it without jax.

configs/base.py is the schema: nothing may stand in a config that does not stand there, but for the
arguments of encodings. Whatever a user gets wrong becomes a UserError of one line.
"""

import ast
import contextlib
import difflib
import importlib.util
import inspect
import itertools
import json
import os
import sys
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from posjax.errors import UserError, one_line, one_of, show

ROOT = Path(__file__).resolve().parent.parent

KINDS = {
  bool: 'true or false', int: 'an integer', float: 'a number', str: 'a word', list: 'a tuple',
}


def to_dict(config):
  """The config as a plain nested dict, just as json.load reads it back: tuples are lists."""
  return json.loads(config.to_json())


def flatten(config, prefix=''):
  """{'model.dim': 64, …} of a ConfigDict or plain dict; lists become the tuples they were."""
  flat = {}
  for name, value in (to_dict(config) if isinstance(config, ConfigDict) else config).items():
    if isinstance(value, dict):
      flat |= flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = tuple(value) if isinstance(value, list) else value
  return flat


def difference(old, new):
  """{key: (old value, new value)} where two flat dicts differ; None where a key is absent."""
  pairs = {key: (old.get(key), new.get(key)) for key in old | new}
  return {key: (a, b) for key, (a, b) in pairs.items() if a != b}


def changes(difference):
  """'seed 0 -> 1, model.dim 64 -> 128': what `difference` returned, as text."""
  word = lambda value: 'absent' if value is None else show(value)
  return ', '.join(f'{k} {word(a)} -> {word(b)}' for k, (a, b) in difference.items())


def load(spec):
  """Loads a config; `command_line` sets what a user changes, `validation` judges the values.

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
  with blaming(path):
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    sizes = [*map(str, getattr(module, 'SIZES', schema.SIZES))]
  if size and size not in sizes:
    raise UserError(f'--config={spec}: {one_of(size, sizes, "the size")}')
  with blaming(path):
    call = inspect.signature(module.get_config).bind(*filter(None, [size]))
    call.apply_defaults()
    config = module.get_config(*call.args)
    if not isinstance(config, ConfigDict):
      raise TypeError(f'get_config() returned {config!r}, not a ConfigDict')
    flat, like = flatten(config), flatten(schema.get_config())
  try:
    check_types({k: flat[k] for k in flat if k in like or not k.startswith('encoding.')}, like)
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
  known = {k: v for k, v in flatten(values).items() if not k.startswith('encoding.')}
  check_types(like | known, like)
  config.update_from_flattened_dict(known)
  config.encoding = _tuples(values['encoding'])
  config.lock()
  return config


def _tuples(value):
  """What was a tuple before it was JSON."""
  if isinstance(value, dict):
    return {key: _tuples(inner) for key, inner in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def find(name):
  """The path of a config, from here, from the repository, or from its folder configs."""
  file = name if name.endswith('.py') else f'{name}.py'
  for folder in (Path(), ROOT, ROOT / 'configs'):
    path = folder / os.path.expanduser(file)
    if os.path.isfile(path):  # unlike Path's, for which some names are errors
      return path
  raise UserError(f'--config={name}: no such file; {one_of(Path(name).stem, available())}')


def available():
  """{name: first line of its docstring} of the configs that come with posjax."""
  paths = sorted((ROOT / 'configs').glob('[a-z]*.py'))
  lines = {path.stem: path.read_text().partition('\n')[0].strip('"') for path in paths}
  return {name: line for name, line in lines.items() if name != 'base'}


def base():
  """The module configs/base.py; from here on, config files can import it wherever they are."""
  if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
  with blaming(ROOT / 'configs' / 'base.py'):
    return importlib.import_module('configs.base')


@contextlib.contextmanager
def blaming(path):
  """Turns whatever the code of the config file at `path` raises into a UserError with its line."""
  try:
    yield
  except (Exception, SystemExit) as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f':{f.lineno}' for f in frames if Path(f.filename).resolve() == path.resolve()]
    where = f'{nearby(path)}{"".join(lines[-1:])}'
    raise UserError(f'{where}: {type(error).__name__}: {one_line(error)}') from error


def check_types(values, like):
  """Raises UserError unless two flat dicts have the same keys and types, tuples by element."""
  for key, value in values.items():
    if key not in like:
      raise UserError(f'{key}: {no_key(key, like)}')
    elements, models = [v if isinstance(v, tuple) else (v,) for v in (value, like[key])]
    strangers = models and {*map(type, elements)} - {*map(type, models)}
    if type(value) is not type(like[key]) or strangers:
      raise mistyped(key, value, like[key])
  if missing := like.keys() - values.keys():
    raise UserError(f'{min(missing)}: missing; start from base.get_config(size) of configs/base.py')


def nearby(path):
  """The path as one would type it here."""
  path = Path(path).resolve()
  return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def mistyped(key, value, like):
  each, kind = ('each ', type(like[0])) if isinstance(like, tuple) else ('', type(like))
  return UserError(f'{key} = {show(value)}: {each}must be {KINDS[kind]}, such as {show(like)}')


def no_key(key, keys, path=None):
  """What to tell a user about `key`, which is none of the flat `keys` of the config at `path`."""
  if children := [k.removeprefix(f'{key}.') for k in keys if k.startswith(f'{key}.')]:
    return f'is a section; set its keys one by one: {", ".join(children)}'
  if close := nearest_key(key, keys):
    where = documented(path).get(close)
    return f'no such key; did you mean {close}' + (f' ({where[0]})?' if where else '?')
  section = key.rpartition('.')[0]
  siblings = [k.removeprefix(f'{section}.') for k in keys if k.startswith(f'{section}.')]
  names = siblings or dict.fromkeys(k.partition('.')[0] for k in keys)
  return f'no such key; {section if siblings else "the config"} has {", ".join(names)}'


def nearest_key(key, keys):
  """The one of `keys` with the last name most like that of `key`, or None."""
  alike = sorted(keys, key=lambda k: difflib.SequenceMatcher(None, k, key).ratio())
  named = {k.rpartition('.')[2]: k for k in alike}
  close = difflib.get_close_matches(key.rpartition('.')[2], named, 1)
  return named[close[0]] if close else None


def documented(path=None):
  """{key: (file:line, comment)} of what configs/base.py and the config at `path` assign."""
  found = {}
  for file in filter(None, (path, ROOT / 'configs' / 'base.py')):
    source = file.read_text()
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
      if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        section = ast.unparse(node.targets[0]).partition('.')[2]
        for key, line in assigned(section, node.value):
          above = itertools.takewhile(lambda x: x.lstrip().startswith('# '), lines[line - 2 :: -1])
          comment = lines[line - 1].partition('  # ')[2] or ' '.join(
            x.lstrip('# ') for x in reversed([*above])
          )
          found[key] = (f'{nearby(file)}:{line}', comment)
  return found


def assigned(name, node):
  """(key, line) of each value in an expression; a section is a call of dict."""
  if isinstance(node, ast.Call):
    for keyword in node.keywords:
      yield from assigned(f'{name}.{keyword.arg}', keyword.value)
  else:
    yield name, node.lineno


def describe(config, path, arguments):
  """Every key with its value and its meaning, a line each.

  Args:
    config: a `ConfigDict`.
    path: of the file that made it.
    arguments: {key: (default, meaning)} of encodings, whether it sets them or not.
  """
  own = flatten(config)
  values = own | {key: default for key, (default, _) in arguments.items() if key not in own}
  meanings = {key: meaning for key, (_, meaning) in arguments.items()}
  meanings |= {key: comment for key, (_, comment) in documented(path).items()}
  sections = [*dict.fromkeys(key.split('.')[0] for key in values)]
  keys = sorted(values, key=lambda key: sections.index(key.split('.')[0]))
  rows = {key: f'{key} = {show(values[key])}' for key in keys}
  width = max(map(len, rows.values()))
  lines = [f'{row:<{width}}  # {meanings.get(key, "")}' for key, row in rows.items()]
  return '\n'.join(line.removesuffix('# ').rstrip() for line in lines)
