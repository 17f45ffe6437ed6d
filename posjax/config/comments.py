"""The comments of config files on their keys, read without jax."""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In an installed package, or in a checkout.
CONFIGS = next(p for p in (ROOT / 'posjax/configs', ROOT / 'configs') if p.is_dir())


def nearby(path: Path | str) -> Path:
  """Returns the path as a user would type it in the current folder."""
  path = Path(path).resolve()
  return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def documented(path: Path | None = None) -> dict[str, tuple[str, str]]:
  """Returns {key: (file:line, comment)} of the keys in configs/base.py and the config at `path`."""
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


def assigned(name: str, node: ast.expr) -> Iterator[tuple[str, int]]:
  """Yields (key, line) of each value in an expression; a section is a call of dict."""
  if isinstance(node, ast.Call):
    for keyword in node.keywords:
      yield from assigned(f'{name}.{keyword.arg}', keyword.value)
  else:
    yield name, node.lineno
