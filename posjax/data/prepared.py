"""TFDS datasets: read, and where possible written, as array_record.

TensorFlow is never imported. Corrupt data raises a one-line error that names the folder to delete,
both when the dataset is opened and when a document is read.
"""

import contextlib
import difflib
import errno
import hashlib
import importlib
import io
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from tensorflow_datasets.core import registered

from posjax.data import features
from posjax.data.corpus import Corpus, Documents, Records
from posjax.errors import UserError

# errno values of folders that are not writable.
UNWRITABLE = (
  errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC,
  errno.EDQUOT,
)
# Groups of TFDS datasets with text or images; each can be imported without TensorFlow.
GROUPS = (
  'image_classification', 'question_answering', 'summarization', 'text', 'text_simplification',
  'translate',
)


def load(name: str, directory: str, expressions: Mapping[str, str]) -> Corpus:
  """Opens the text of the dataset `name` in `directory`, and prepares it first if necessary.

  Raises:
    UserError: anything is wrong with the dataset. Reading a document later may raise it too.
  """
  builder, feature, recorded, sources = _open(name, directory, expressions, _text_feature)

  def text(example: Mapping[str, Any]) -> bytes:
    value = example[feature]  # bytes in array_record, but str in some sources
    return value.encode() if isinstance(value, str) else bytes(value)

  return Corpus(
    **recorded,
    name=f'tfds:{builder.info.full_name}',
    splits=tuple(expressions.values()),
    documents_by_split=_read(name, builder, sources, text),
  )


def load_records(
  name: str, directory: str, expressions: Mapping[str, str], fields: tuple[str, ...]
) -> Records:
  """Opens records of the dataset `name` in `directory`, and prepares it first if necessary.

  Args:
    name: as TFDS has it.
    directory: the folder of prepared datasets.
    expressions: split -> its part of the dataset, such as 'train[:95%]'.
    fields: names of features, or dotted paths of their parts; see features.py.

  Raises:
    UserError: anything is wrong with the dataset. Reading a record later may raise it too.
  """
  builder, values, recorded, sources = _open(
    name, directory, expressions, lambda name, found: features.reader(name, found, fields)
  )
  identity = json.dumps([recorded['sha256'], fields])
  return Records(
    name=f'tfds:{builder.info.full_name}',
    fields=fields,
    count=recorded['files'],
    sha256=hashlib.sha256(identity.encode()).hexdigest(),
    splits=tuple(expressions.values()),
    records_by_split=_read(name, builder, sources, values),
  )


def _open(
  name: str, directory: str, expressions: Mapping[str, str], select: Callable[[str, Any], Any]
) -> tuple[tfds.core.DatasetBuilder, Any, dict[str, Any], dict[str, Sequence[Any]]]:
  """Prepares a dataset if necessary, and checks it.

  Returns:
    its builder; `select` of its name and features, called before it is prepared; the entries of
    `_recorded`; and the examples of each split.
  """
  with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints a lot, and always about downloads
    builder = _builder(name, directory)
    with _blame_section(name, builder.data_dir):
      selected = select(name, builder.info.features)
      builder = _prepare(builder, name, directory)
      sources = {split: _source(builder, part) for split, part in expressions.items()}
      _check_shards(builder.info)
      return builder, selected, _recorded(builder.info), sources


def _read(
  name: str,
  builder: tfds.core.DatasetBuilder,
  sources: Mapping[str, Sequence[Any]],
  convert: Callable[[Mapping[str, Any]], Any],
) -> dict[str, Documents]:
  """Returns the converted examples of each split, which are read when they are needed."""

  def documents(source: Sequence[Any]) -> Documents:
    def read(index: int) -> Any:
      with _blame_section(name, builder.data_dir):
        return convert(source[index])

    return Documents(range(len(source)), read)

  return {split: documents(source) for split, source in sources.items()}


@contextlib.contextmanager
def _blame_section(name: str, folder: str) -> Iterator[None]:
  """Converts any error of reading a prepared dataset into a UserError that names its folder."""
  try:
    yield
  except (UserError, MemoryError):
    raise
  except Exception as error:
    raise _unreadable(name, folder, error) from error


def _unreadable(name: str, folder: str, error: Exception) -> UserError:
  return UserError(
    f'tfds:{name} cannot be read from {folder} ({_first_line(error)}); delete that folder, so that '
    'it is prepared again'
  )


def _builder(name: str, directory: str) -> tfds.core.DatasetBuilder:
  """Returns the TFDS builder of a dataset, which may not be prepared yet."""
  # Without TensorFlow, TFDS stops its search for datasets at the first group that needs it, before
  # most groups of text. Importing a module registers its datasets.
  for group in GROUPS:
    importlib.import_module(f'tensorflow_datasets.{group}')
  importlib.import_module('posjax.data.python_source')
  try:
    return tfds.builder(name, data_dir=directory)
  except Exception as error:
    folder = os.path.join(directory, name.replace(':', '/'))
    if os.path.isdir(folder):
      raise _unreadable(name, folder, error) from error
    if not isinstance(error, tfds.core.DatasetNotFoundError):
      raise UserError(f'tfds:{name} cannot be opened: {_first_line(error)}') from error
    near = difflib.get_close_matches(name.split('/')[0], registered.list_imported_builders())
    hint = f'; nearest: {", ".join(near)}' if near else ''
    raise UserError(f'TFDS has no dataset {name!r}{hint}') from error


def _text_feature(name: str, found: Mapping[str, Any]) -> str:
  """Returns the name of the feature 'text', or of the only text feature."""
  texts = [key for key, feature in found.items() if isinstance(feature, tfds.features.Text)]
  if 'text' in texts:
    return 'text'
  if len(texts) != 1:
    names = ', '.join(sorted(found))
    raise UserError(f'tfds:{name} has no single text feature; its features: {names}')
  return texts[0]


def _prepare(
  builder: tfds.core.DatasetBuilder, name: str, directory: str
) -> tfds.core.DatasetBuilder:
  """Writes a dataset as array_record if it is not prepared yet, and returns its builder."""
  if builder.is_prepared():
    return builder
  try:
    urls = [url for url in builder.url_infos or () if url.startswith('http')]
    what = getattr(builder, 'title', f'tfds:{name}')
    print(f'{"downloading and " if urls else ""}preparing {what}', file=sys.stderr, flush=True)
    _check_network(urls[:1])
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(try_download_gcs=False)  # the bucket contains tfrecords
    builder.download_and_prepare(download_config=config, file_format='array_record')
    return builder
  except UserError:
    raise
  except Exception as error:
    # Another run, started at the same time, may have prepared the dataset first.
    if builder.is_prepared():
      return _builder(name, directory)
    if getattr(error, 'errno', None) in UNWRITABLE:
      raise UserError(
        f'{directory}: tfds:{name} cannot be written there ({_first_line(error)}); '
        '--config.data.directory names another folder'
      ) from error
    raise UserError(
      f'tfds:{name} is not in {directory} and cannot be prepared here ({_first_line(error)}); '
      f'on a machine with a network and TensorFlow, `tfds build {name} --file_format=array_record` '
      'prepares it'
    ) from error


def _check_network(urls: Sequence[str]) -> None:
  """Raises URLError if a server is unreachable; TFDS would retry for minutes."""
  for url in urls:
    request = urllib.request.Request(url, method='HEAD')
    with contextlib.suppress(urllib.error.HTTPError, TimeoutError):  # the server is reachable
      urllib.request.urlopen(request, timeout=10).close()


def _source(builder: tfds.core.DatasetBuilder, expression: str) -> Sequence[Mapping[str, Any]]:
  """Returns the examples of a split, or of a part of a split, with random access."""
  info = builder.info
  try:
    return builder.as_data_source(expression)
  except NotImplementedError as error:
    if not info.splits:  # no metadata, not even the format
      raise ValueError('dataset_info.json is missing') from error
    raise UserError(
      f'tfds:{info.full_name} is stored in {builder.data_dir} as {info.file_format.value}, which '
      'only TensorFlow can read; prepare it as array_record'
    ) from error
  except ValueError as error:
    raise UserError(
      f'tfds:{info.full_name} has no documents {expression!r}; its splits: '
      f"{', '.join(info.splits)}, or parts such as 'train[95%:]'"
    ) from error


def _check_shards(info: tfds.core.DatasetInfo) -> None:
  """Raises ValueError unless the files of each split contain the recorded number of documents."""
  for split in info.splits.values():
    found = len(ArrayRecordDataSource([str(path) for path in split.filepaths]))
    if found != split.num_examples:
      raise ValueError(f'{found} documents in split {split.name}, not {split.num_examples}')


def _recorded(info: tfds.core.DatasetInfo) -> dict[str, int | str]:
  """Returns documents, bytes and hash, as python_source records them, or else from TFDS metadata.

  The hash of TFDS metadata covers name, version and shards, without a pass over the data.
  """
  if isinstance(info.metadata, dict) and 'sha256' in info.metadata:
    return {key: info.metadata[key] for key in ('files', 'bytes', 'sha256')}
  shards = {name: [split.num_bytes, split.shard_lengths] for name, split in info.splits.items()}
  text = json.dumps([info.full_name, shards], sort_keys=True)
  return {
    'files': info.splits.total_num_examples,
    'bytes': int(info.dataset_size),
    'sha256': hashlib.sha256(text.encode()).hexdigest(),
  }


def _first_line(error: Exception) -> str:
  return f'{type(error).__name__}: {error}'.partition('\n')[0]
