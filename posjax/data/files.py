"""Local files: found by a pattern, opened, decompressed.

A pattern is a glob in which `**` is any number of folders. A file with several paths, symbolic or
hard links, is found once. A linked folder is searched once, so that a link to a parent folder adds
nothing. .gz, .bz2, .xz and .zst files are decompressed.
"""

import contextlib
import glob
import importlib
import io
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

from posjax.errors import UserError

BOM = b'\xef\xbb\xbf'
MODULES = {'.gz': 'gzip', '.bz2': 'bz2', '.xz': 'lzma', '.zst': 'posjax.data.zstd'}


def find(name: str, pattern: str) -> list[pathlib.Path]:
  """Returns the files that a pattern matches, each once, sorted by path."""
  matches = sorted(_matches(_keep_literal(os.path.expanduser(pattern))))
  paths = [pathlib.Path(path) for path in matches if not os.path.isdir(path)]
  for path in paths:
    if not path.is_file():
      kind = 'a broken link' if path.is_symlink() else 'not a regular file'
      raise UserError(f'{name}: {path} is {kind}; repair or remove it, or match fewer files')
  if not paths:
    folders = f', only folders; did you mean {pattern.rstrip("/")}/*?' if matches else ''
    raise UserError(f'{name}: no file matches{folders} (from {os.getcwd()})')
  once = {}
  for path in paths:
    once.setdefault(_identity(path), path)
  return list(once.values())


def _keep_literal(pattern: str) -> str:
  """Escapes the longest prefix of a pattern that exists as written: `a[1].txt` may be a file."""
  parts = pattern.split('/')
  for count in range(len(parts), 0, -1):
    beginning = '/'.join(parts[:count])
    if os.path.lexists(beginning):
      return glob.escape(beginning) + pattern[len(beginning) :]
  return pattern


def _matches(pattern: str) -> list[str]:
  """Returns the paths that a pattern matches. (glob's `**` would follow a parent link forever.)"""
  parts = pattern.split('/')
  if '**' not in parts:
    return glob.glob(pattern)
  at = parts.index('**')
  tops = glob.glob('/'.join(parts[:at]) + '/') if at else [os.curdir]
  below = '/'.join(parts[at + 1 :]) or '*'
  folders = [folder for top in tops for folder in _folders(top)]
  return [path for f in folders for path in _matches(os.path.join(glob.escape(f), below))]


def _folders(top: str) -> Iterator[str]:
  """Yields `top` and all folders below it except hidden ones; follows links, each folder once."""
  seen = set()
  for folder, names, _ in os.walk(top, followlinks=True):
    if _identity(folder) in seen:
      names.clear()
      continue
    seen.add(_identity(folder))
    names[:] = sorted(name for name in names if not name.startswith('.'))
    yield folder


def _identity(path: str | pathlib.Path) -> tuple[int, int]:
  """Returns (device, inode), equal for all links to one file or folder."""
  status = os.stat(path)
  return status.st_dev, status.st_ino


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[tuple[BinaryIO, tuple[int, int]]]:
  """Yields a file to read, and its version. Raises UserError if the file cannot be read."""
  try:
    with path.open('rb') as file:
      status = os.fstat(file.fileno())
      yield file, (status.st_size, status.st_mtime_ns)
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from error


def lines(path: pathlib.Path) -> Iterator[bytes]:
  """Yields the lines of a file without a byte order mark; loads only compressed files in full."""
  with opened(path) as (file, _):
    compressed = path.suffix.lower() in MODULES
    text = io.BytesIO(decompress(path, file.read())) if compressed else file
    for number, line in enumerate(text):
      yield line if number else line.removeprefix(BOM)


def decompress(path: pathlib.Path, content: bytes) -> bytes:
  """Returns the content, decompressed if `path` says so. Raises UserError if it is corrupt."""
  module = MODULES.get(path.suffix.lower())
  if not module or not content:
    return content
  try:
    return importlib.import_module(module).decompress(content)
  except ImportError as error:
    raise UserError(
      f"{path} cannot be read without {error.name}; for zstandard: pip install -e '.[zstd]'"
    ) from error
  except MemoryError:
    raise
  except Exception as error:  # each module raises its own types
    why = f'{type(error).__name__}: {error}'
    raise UserError(f'{path} is corrupt, or not a {path.suffix} file ({why})') from error
