"""Local files as a corpus: one file is one document, and each split has a part of it.

A document is the unchanged bytes of its file, CRLF and invalid UTF-8 included, with two exceptions:
compressed files are decompressed (see files.py), and a UTF-8 byte order mark at the start is
dropped.

If a file has changed since it was hashed, reading it raises an error.
"""

import json
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from posjax.data import files
from posjax.data.corpus import SPLITS, Corpus, Documents, check_splits, cuts, digest
from posjax.errors import UserError


def is_record(line: bytes) -> bool:
  """Whether a line is a JSON object."""
  try:
    return isinstance(json.loads(line), dict)
  except (ValueError, RecursionError):
    return False


# Files that are probably not text: kind -> (check, remedy). The warning is for the first match.
DOUBTS = {
  'are UTF-16, not UTF-8': (
    lambda path, text: text[:2] in (b'\xff\xfe', b'\xfe\xff'),
    'convert them with iconv -f UTF-16 -t UTF-8',
  ),
  'hold JSON records': (
    lambda path, text: text[:1] == b'{' and is_record(text.partition(b'\n')[0]),
    'to read the text in each record, use jsonl: instead of text:',
  ),
  'are Parquet files': (
    lambda path, text: text[:4] == b'PAR1',
    'to read the text in each record, use parquet: instead of text:',
  ),
  'look binary': (lambda path, text: b'\0' in text, 'match fewer files'),
}


class Part(NamedTuple):
  """A range of bytes of a file's text, with the file's version when the corpus was loaded."""

  path: pathlib.Path
  start: int
  stop: int
  version: tuple[int, int]  # size and modification time of the file


def load(pattern: str, expressions: Mapping[str, str]) -> Corpus:
  """Opens the files that `pattern` matches; `expressions` maps each split to one of `SPLITS`.

  Warns about files that are probably not text, in one line for each kind of `DOUBTS`.

  Raises:
    UserError: no file matches, a file cannot be read, or a split does not exist.
  """
  name = f'text:{pattern}'
  check_splits(name, expressions)
  parts: dict[str, list[Part]] = {split: [] for split in SPLITS}
  sizes: list[int] = []
  doubtful: dict[str, list[pathlib.Path]] = {}

  def texts() -> Iterator[tuple[str, bytes]]:
    for path in files.find(name, pattern):
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


def _text(path: pathlib.Path) -> tuple[bytes, tuple[int, int]]:
  """Returns the text of a file, and the file's version."""
  with files.opened(path) as (file, version):
    content = file.read()
  return files.decompress(path, content).removeprefix(files.BOM), version


def _read(part: Part) -> bytes:
  text, version = _text(part.path)
  if version != part.version:  # the hash no longer describes the text
    raise UserError(
      f'{part.path} has changed since this run began; restore the file and rerun the '
      'command to resume, or choose another --workdir for the new text'
    )
  return text[part.start : part.stop]
