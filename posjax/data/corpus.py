"""Where text comes from: 'tfds:NAME' or 'text:GLOB' -> documents with random access.

A corpus knows what it is: its size, and a hash that two runs must share to be compared.
"""

import contextlib
import dataclasses
import glob
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from posjax.config import UserError

SPLITS = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True)
class Documents(Sequence):
  """A sequence of bytes, read when indexed: one document for every key."""

  keys: Sequence[Any]
  read: Callable[[Any], bytes]

  def __len__(self) -> int:
    return len(self.keys)

  def __getitem__(self, index: int) -> bytes:
    return self.read(self.keys[index])

  def __iter__(self) -> Iterator[bytes]:
    # Sequence's own waits for an IndexError, which array_record does not raise.
    return (self[index] for index in range(len(self)))


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Text in three splits.

  Attributes:
    name: what it was loaded from; for TFDS with the dataset's configuration and version.
    files: the number of documents in the whole dataset; one file is one document.
    bytes: their size; for a foreign TFDS dataset the size TFDS records.
    sha256: hex digest of the documents; for a foreign TFDS dataset of what TFDS records of them.
    splits: what train, validation and test are, e.g. ('train[:95%]', 'train[95%:]', 'test').
    documents_by_split: 'train', 'validation', 'test' -> their documents.
  """

  name: str
  files: int
  bytes: int
  sha256: str
  splits: tuple[str, str, str]
  documents_by_split: Mapping[str, Sequence[bytes]] = dataclasses.field(repr=False, compare=False)

  def documents(self, split: str) -> Sequence[bytes]:
    """The documents of 'train', 'validation' or 'test'. Raises UserError for another name."""
    if split not in SPLITS:
      raise UserError(f'a corpus has the splits {", ".join(SPLITS)}, not {split!r}')
    return self.documents_by_split[split]

  def __str__(self) -> str:
    size = f'{self.files:,} files, {self.bytes / 1e6:.2f} MB'
    return f'{self.name}: {size}, SHA-256 {self.sha256[:12]}'


def load(
  corpus: str,
  directory: str = '~/tensorflow_datasets',
  *,
  train: str = 'train',
  validation: str = 'validation',
  test: str = 'test',
) -> Corpus:
  """Opens a corpus, preparing it first where that has not been done.

  Args:
    corpus: 'tfds:NAME', any TFDS dataset with text (NAME as TFDS has it: 'lm1b', 'c4/en'), or
      'text:GLOB', local files, of each the first 90 % train, 5 % validation, 5 % test.
    directory: where prepared TFDS datasets live.
    train: what to train on, in the dataset's own terms ('train[:95%]').
    validation: what to choose the best checkpoint by.
    test: what to report.

  Raises:
    UserError: nothing there, nothing in it, no such split, no text, or it cannot be prepared.
  """
  kind, _, name = corpus.partition(':')
  expressions = {'train': train, 'validation': validation, 'test': test}
  if kind == 'tfds' and name:
    from posjax.data import prepared  # slow to import

    loaded = prepared.load(name, os.path.expanduser(directory), expressions)
  elif kind == 'text' and name:
    loaded = _load_text(name, expressions)
  else:
    raise UserError(f"corpus {corpus!r} must be 'tfds:NAME' or 'text:GLOB'")

  size = 0
  for document in loaded.documents('train'):
    size += len(document)
    if size >= 2:
      return loaded
  raise UserError(f'{loaded.name}: the split {expressions["train"]!r} has {size} bytes to train on')


def digest(documents: Iterable[tuple[str, bytes]]) -> str:
  """SHA-256, in hex, over (name, text) pairs in the given order.

  Each string follows its length, so that no two lists of pairs are the same stream.
  """
  sha = hashlib.sha256()
  for name, text in documents:
    for string in (os.fsencode(name), text):
      sha.update(len(string).to_bytes(8, 'big'))
      sha.update(string)
  return sha.hexdigest()


class Part(NamedTuple):
  """Some bytes of a file, as it was when the corpus was loaded."""

  path: pathlib.Path
  start: int
  stop: int
  version: tuple[int, int]  # the whole file's size, and when it was changed last


def _load_text(pattern: str, expressions: Mapping[str, str]) -> Corpus:
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
