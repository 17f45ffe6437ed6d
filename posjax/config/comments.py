"""What config files say about their keys, in comments; without jax."""

import ast
import itertools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Of an installed package, or of a checkout.
CONFIGS = next(p for p in (ROOT / 'posjax/configs', ROOT / 'configs') if p.is_dir())


def nearby(path):
  """The path as one would type it here."""
  path = Path(path).resolve()
  return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def documented(path=None):
  """{key: (file:line, comment)} of what configs/base.py and the config at `path` assign."""
  found = {}
  for file in filter(None, (path, CONFIGS / 'base.py')):
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
