"""Where text comes from: 'tfds:NAME' or 'text:GLOB' -> documents with random access.

A corpus knows what it is: its size, and a hash that two runs must share to be compared.
TensorFlow is never imported: TFDS datasets are read, and where possible written, as array_record.
"""

import contextlib
import dataclasses
import difflib
import glob
import hashlib
import importlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

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
    loaded = _load_tfds(name, os.path.expanduser(directory), expressions)
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


def _load_text(pattern: str, expressions: Mapping[str, str]) -> Corpus:
  name = f'text:{pattern}'
  for expression in expressions.values():
    if expression not in SPLITS:
      raise UserError(f'{name} has the splits {", ".join(SPLITS)}, not {expression!r}')
  matches = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
  paths = [pathlib.Path(path) for path in matches if os.path.isfile(path)]
  if not paths:
    raise UserError(f'{name}: no file matches (from {os.getcwd()})')
  paths = [path for path in paths if path.stat().st_size]
  if not paths:
    raise UserError(f'{name}: every file that matches is empty')

  parts = {split: [] for split in SPLITS}
  for path in paths:
    cuts = _cuts(path.read_bytes())
    for split, start, stop in zip(SPLITS, cuts[:-1], cuts[1:], strict=True):
      if start < stop:
        parts[split].append((path, start, stop))
  return Corpus(
    name=name,
    files=len(paths),
    bytes=sum(path.stat().st_size for path in paths),
    sha256=digest((path.name, path.read_bytes()) for path in paths),
    splits=tuple(expressions.values()),
    documents_by_split={
      split: Documents(parts[expression], _read) for split, expression in expressions.items()
    },
  )


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


def _read(part: tuple[pathlib.Path, int, int]) -> bytes:
  path, start, stop = part
  with path.open('rb') as file:
    file.seek(start)
    return file.read(stop - start)


def _load_tfds(name: str, directory: str, expressions: Mapping[str, str]) -> Corpus:
  with contextlib.redirect_stdout(sys.stderr):  # TFDS prints; standard output is the run's
    builder = _builder(name, directory)
    feature = _text_feature(name, builder.info.features)
    builder = _prepare(builder, name, directory)
  info = builder.info

  def read(example: Mapping[str, bytes | str]) -> bytes:
    text = example[feature]  # bytes in array_record, but not in every source
    return text.encode() if isinstance(text, str) else text

  recorded = info.metadata if isinstance(info.metadata, dict) else {}
  if 'sha256' not in recorded:
    recorded = {
      'files': info.splits.total_num_examples,
      'bytes': int(info.dataset_size),
      'sha256': _recorded_digest(info),
    }
  return Corpus(
    name=f'tfds:{info.full_name}',
    files=recorded['files'],
    bytes=recorded['bytes'],
    sha256=recorded['sha256'],
    splits=tuple(expressions.values()),
    documents_by_split={
      split: Documents(_source(builder, expression), read)
      for split, expression in expressions.items()
    },
  )


def _builder(name: str, directory: str):
  """TFDS's builder of a dataset; it may not be prepared yet."""
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import registered

  # Without TensorFlow, TFDS stops looking for datasets at the first group that needs it, before
  # it comes to texts. Importing a module registers what it defines.
  importlib.import_module('tensorflow_datasets.text')
  importlib.import_module('posjax.data.python_source')
  try:
    return tfds.builder(name, data_dir=directory)
  except tfds.core.DatasetNotFoundError as error:
    near = difflib.get_close_matches(name.split('/')[0], registered.list_imported_builders())
    hint = f'; nearest: {", ".join(near)}' if near else ''
    raise UserError(f'TFDS has no dataset {name!r}{hint}') from error
  except Exception as error:
    raise UserError(f'tfds:{name} cannot be opened: {_first_line(error)}') from error


def _text_feature(name: str, features: Mapping[str, Any]) -> str:
  """The feature called 'text', or the only one that is text."""
  import tensorflow_datasets as tfds

  texts = [key for key, feature in features.items() if isinstance(feature, tfds.features.Text)]
  if 'text' in texts:
    return 'text'
  if len(texts) != 1:
    names = ', '.join(sorted(features))
    raise UserError(f'tfds:{name} has no single text feature; its features: {names}')
  return texts[0]


def _prepare(builder, name: str, directory: str):
  """Writes a dataset as array_record, unless that has been done, and returns its builder."""
  import tensorflow_datasets as tfds

  try:
    config = tfds.download.DownloadConfig(try_download_gcs=False)  # that bucket holds tfrecords
    builder.download_and_prepare(download_config=config, file_format='array_record')
    return builder
  except UserError:
    raise
  except Exception as error:
    # Of several runs started at once, the slower ones find the dataset in place.
    if builder.is_prepared():
      return _builder(name, directory)
    raise UserError(
      f'tfds:{name} is not in {directory} and cannot be prepared here ({_first_line(error)}); '
      f'where there is a network and TensorFlow, `tfds build {name} --file_format=array_record` '
      'prepares it'
    ) from error


def _source(builder, expression: str) -> Sequence[Mapping[str, Any]]:
  """The examples of a split, or of a part of one, with random access."""
  info = builder.info
  try:
    return builder.as_data_source(expression)
  except NotImplementedError as error:
    raise UserError(
      f'tfds:{info.full_name} lies in {builder.data_dir} as {info.file_format.value}, which only '
      'TensorFlow can read; prepare it as array_record'
    ) from error
  except ValueError as error:
    raise UserError(
      f'tfds:{info.full_name} has no documents {expression!r}; its splits: '
      f"{', '.join(info.splits)}, or parts such as 'train[95%:]'"
    ) from error


def _recorded_digest(info) -> str:
  """SHA-256, in hex, of the name, version and shards that TFDS records: no pass over the data."""
  shards = {name: [split.num_bytes, split.shard_lengths] for name, split in info.splits.items()}
  return hashlib.sha256(json.dumps([info.full_name, shards], sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
  return f'{type(error).__name__}: {error}'.partition('\n')[0]
