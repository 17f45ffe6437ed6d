"""Local files as a corpus: one file is one document, of which each split has a part.

A document is the bytes of its file as they are, CRLF and invalid UTF-8 included, with two
exceptions: .gz, .bz2, .xz and .zst files are decompressed, and a UTF-8 byte order mark at the start
is dropped. One file is one document however many paths, symbolic or hard links, lead to it; a
folder that is linked is searched once, so that a link to a parent folder adds nothing.

A text that is no longer what was hashed is noticed when it is read.
"""

import contextlib
import glob
import importlib
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from posjax.config import UserError
from posjax.data.corpus import SPLITS, Corpus, Documents, cuts, digest

BOM = b'\xef\xbb\xbf'
MODULES = {'.gz': 'gzip', '.bz2': 'bz2', '.xz': 'lzma', '.zst': 'posjax.data.zstd'}

# Files that hardly hold text, and what helps; the first kind that fits is warned of.
DOUBTS = {
  'are UTF-16, not UTF-8': (
    lambda path, text: text[:2] in (b'\xff\xfe', b'\xfe\xff'),
    'convert them with iconv -f UTF-16 -t UTF-8',
  ),
  'look like JSON records': (
    lambda path, text: '.jsonl' in path.suffixes, 'write the text of each record to a file',
  ),
  'look binary': (lambda path, text: b'\0' in text, 'match fewer files'),
}


class Part(NamedTuple):
  """Some bytes of a file's text, as it was when the corpus was loaded."""

  path: pathlib.Path
  start: int
  stop: int
  version: tuple[int, int]  # the whole file's size, and when it was changed last


def load(pattern: str, expressions: Mapping[str, str]) -> Corpus:
  """Opens the files that `pattern` matches; `expressions` says what each split is.

  Warns of files that hardly hold text, in one line for each kind of `DOUBTS`.

  Raises:
    UserError: none matches, one cannot be read, or there is no such split.
  """
  name = f'text:{pattern}'
  for expression in expressions.values():
    if expression not in SPLITS:
      raise UserError(f'{name} has the splits {", ".join(SPLITS)}, not {expression!r}')
  parts, sizes, doubtful = {split: [] for split in SPLITS}, [], {}

  def texts() -> Iterator[tuple[str, bytes]]:
    for path in _files(name, pattern):
      text, version = _text(path)
      if not text:
        continue
      bounds = cuts(text)
      for split, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
        if start < stop:
          parts[split].append(Part(path, start, stop, version))
      if kind := next((kind for kind in DOUBTS if DOUBTS[kind][0](path, text)), None):
        doubtful.setdefault(kind, []).append(path)
      sizes.append(len(text))
      yield path.name, text

  sha256 = digest(texts())
  if not sizes:
    raise UserError(f'{name}: every file that matches is empty')
  for kind, paths in doubtful.items():
    warnings.warn(
      f'{name}: {len(paths)} of {len(sizes)} files {kind}, the first is {paths[0]}; their bytes '
      f'are used as they are; {DOUBTS[kind][1]}',
      stacklevel=2,
    )
  return Corpus(
    name=name,
    files=len(sizes),
    bytes=sum(sizes),
    sha256=sha256,
    splits=tuple(expressions.values()),
    documents_by_split={
      split: Documents(parts[expression], _read) for split, expression in expressions.items()
    },
  )


def _files(name: str, pattern: str) -> list[pathlib.Path]:
  """The files that a pattern matches, each once, in the order of their paths."""
  matches = sorted(_matches(_keep_literal(os.path.expanduser(pattern))))
  paths = [pathlib.Path(path) for path in matches if not os.path.isdir(path)]
  for path in paths:
    if not path.is_file():
      kind = 'a broken link' if path.is_symlink() else 'no regular file'
      raise UserError(f'{name}: {path} is {kind}; repair it or remove it, or match less')
  if not paths:
    folders = f', only folders; did you mean {pattern.rstrip("/")}/*?' if matches else ''
    raise UserError(f'{name}: no file matches{folders} (from {os.getcwd()})')
  once = {}
  for path in paths:
    once.setdefault(_identity(path), path)
  return list(once.values())


def _keep_literal(pattern: str) -> str:
  """Escapes the longest beginning of a pattern that exists as written: `a[1].txt` may be a file."""
  parts = pattern.split('/')
  for count in range(len(parts), 0, -1):
    beginning = '/'.join(parts[:count])
    if os.path.lexists(beginning):
      return glob.escape(beginning) + pattern[len(beginning) :]
  return pattern


def _matches(pattern: str) -> list[str]:
  """The paths that a pattern matches. glob's own `**` would follow a link to a parent for ever."""
  parts = pattern.split('/')
  if '**' not in parts:
    return glob.glob(pattern)
  at = parts.index('**')
  tops = glob.glob('/'.join(parts[:at]) + '/') if at else [os.curdir]
  below = '/'.join(parts[at + 1 :]) or '*'
  folders = [folder for top in tops for folder in _folders(top)]
  return [path for f in folders for path in _matches(os.path.join(glob.escape(f), below))]


def _folders(top: str) -> Iterator[str]:
  """`top` and the folders below it, hidden ones aside; links are followed, each folder once."""
  seen = set()
  for folder, names, _ in os.walk(top, followlinks=True):
    if _identity(folder) in seen:
      names.clear()
      continue
    seen.add(_identity(folder))
    names[:] = sorted(name for name in names if not name.startswith('.'))
    yield folder


def _identity(path: str | pathlib.Path) -> tuple[int, int]:
  """The same for all links to one file or folder."""
  status = os.stat(path)
  return status.st_dev, status.st_ino


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[tuple[BinaryIO, tuple[int, int]]]:
  """A file to read and its version. Raises UserError if it cannot be read."""
  try:
    with path.open('rb') as file:
      status = os.fstat(file.fileno())
      yield file, (status.st_size, status.st_mtime_ns)
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from error


def _text(path: pathlib.Path) -> tuple[bytes, tuple[int, int]]:
  """What is in a file, and the file's version."""
  with _opened(path) as (file, version):
    content = file.read()
  return _decompress(path, content).removeprefix(BOM), version


def _decompress(path: pathlib.Path, content: bytes) -> bytes:
  """The content of a compressed file, or as it is. Raises UserError if it is damaged."""
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
  except Exception as error:  # each module has its own
    why = f'{type(error).__name__}: {error}'
    raise UserError(f'{path} is damaged, or no {path.suffix} file ({why})') from error


def _read(part: Part) -> bytes:
  text, version = _text(part.path)
  if version != part.version:  # it is not what the hash says any more
    raise UserError(
      f'{part.path} has changed since this run began; with the text that it had, the same '
      'command goes on; with another text, choose another --workdir'
    )
  return text[part.start : part.stop]
