"""Local files as a corpus: one file is one document, of which each split has a part.

What is not the text it was when it was hashed is noticed when it is read.
"""

import contextlib
import glob
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from posjax.config import UserError
from posjax.data.corpus import SPLITS, Corpus, Documents, digest


class Part(NamedTuple):
  """Some bytes of a file, as it was when the corpus was loaded."""

  path: pathlib.Path
  start: int
  stop: int
  version: tuple[int, int]  # the whole file's size, and when it was changed last


def load(pattern: str, expressions: Mapping[str, str]) -> Corpus:
  """Opens the files that `pattern` matches; `expressions` says what each split is.

  Raises:
    UserError: none matches, one cannot be read, or there is no such split.
  """
  name = f'text:{pattern}'
  for expression in expressions.values():
    if expression not in SPLITS:
      raise UserError(f'{name} has the splits {", ".join(SPLITS)}, not {expression!r}')
  parts, sizes = {split: [] for split in SPLITS}, []

  def texts() -> Iterator[tuple[str, bytes]]:
    for path in _files(name, pattern):
      with _opened(path) as (file, version):
        text = file.read()
      cuts = _cuts(text)
      for split, start, stop in zip(SPLITS, cuts[:-1], cuts[1:], strict=True):
        if start < stop:
          parts[split].append(Part(path, start, stop, version))
      sizes.append(len(text))
      yield path.name, text

  sha256 = digest(texts())
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
  """The files that a pattern matches, but for empty ones."""
  matches = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
  paths = [pathlib.Path(path) for path in matches if not os.path.isdir(path)]
  for path in paths:
    if not path.is_file():
      kind = 'a broken link' if path.is_symlink() else 'no regular file'
      raise UserError(f'{name}: {path} is {kind}; repair it or remove it, or match less')
  if not paths:
    folders = f', only folders; did you mean {pattern.rstrip("/")}/*?' if matches else ''
    raise UserError(f'{name}: no file matches{folders} (from {os.getcwd()})')
  paths = [path for path in paths if path.stat().st_size]
  if not paths:
    raise UserError(f'{name}: every file that matches is empty')
  return paths


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[tuple[BinaryIO, tuple[int, int]]]:
  """A file to read and its version. Raises UserError if it cannot be read."""
  try:
    with path.open('rb') as file:
      status = os.fstat(file.fileno())
      yield file, (status.st_size, status.st_mtime_ns)
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from error


def _cuts(text: bytes) -> tuple[int, int, int, int]:
  """Where the 90, 5 and 5 per cent of a file begin and end: after a newline if one is near.

  A newline more than a twentieth of the file away is not looked for: in one huge line after a
  short first one, it would leave next to nothing to train on.
  """
  cuts = [0]
  for cut in (len(text) * 90 // 100, len(text) * 95 // 100):
    newline = text.rfind(b'\n', max(cuts[-1], cut - len(text) // 20), cut)
    cuts.append(cut if newline < 0 else newline + 1)
  return *cuts, len(text)


def _read(part: Part) -> bytes:
  with _opened(part.path) as (file, version):
    if version != part.version:  # it is not what the hash says any more
      raise UserError(
        f'{part.path} has changed since this run began; with the text that it had, the same '
        'command goes on; with another text, choose another --workdir'
      )
    file.seek(part.start)
    return file.read(part.stop - part.start)
