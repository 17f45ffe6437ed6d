"""Sources of text and of records: the kinds that `data.corpus` can name, as PREFIX:NAME."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from posjax.data import docstrings, packages, record_files, records, text_files
from posjax.data.corpus import Corpus, Records
from posjax.errors import UserError, one_of, show

DIRECTORY = '~/tensorflow_datasets'


def tfds(
  name: str, splits: dict[str, str], directory: str, fields: tuple[str, ...]
) -> Corpus:
  """Returns the text of a TFDS dataset; see prepared.py."""
  from posjax.data import prepared  # slow to import

  return prepared.load(name, os.path.expanduser(directory), splits)


def tfds_records(
  name: str, splits: dict[str, str], directory: str, fields: tuple[str, ...]
) -> Records:
  """Returns records of a TFDS dataset; see prepared.py."""
  from posjax.data import prepared  # slow to import

  return prepared.load_records(name, os.path.expanduser(directory), splits, fields)


# Prefix -> a function of the name after it, the expressions of train, validation and test, and the
# arguments `directory` and `fields` of `load`.
SOURCES = {
  'tfds': tfds,
  'text': lambda glob, splits, *_: text_files.load(glob, splits),
  'jsonl': lambda glob, splits, _, fields: records.load('jsonl', glob, splits, fields),
  'parquet': lambda glob, splits, _, fields: records.load('parquet', glob, splits, fields),
  'csv': lambda glob, splits, _, fields: records.load('csv', glob, splits, fields),
  'package': lambda name, splits, _, fields: packages.load(name, splits, fields),
}

# The same for `load_records`. The docstrings have a prefix of their own because `package:` promises
# the same records on every machine, and theirs depend on the version of Python.
RECORD_SOURCES = {
  'tfds': tfds_records,
  'jsonl': lambda glob, splits, _, fields: records.load_records('jsonl', glob, splits, fields),
  'parquet': lambda glob, splits, _, fields: records.load_records('parquet', glob, splits, fields),
  'csv': lambda glob, splits, _, fields: records.load_records('csv', glob, splits, fields),
  'package': lambda name, splits, _, fields: packages.load_records(name, splits, fields),
  'python': lambda name, splits, _, fields: docstrings.load_records(name, splits, fields),
}


def load(
  corpus: str,
  directory: str = DIRECTORY,
  *,
  fields: tuple[str, ...] = ('text',),
  train: str = 'train',
  validation: str = 'validation',
  test: str = 'test',
) -> Corpus:
  """Opens a corpus, and prepares it first if necessary.

  Args:
    corpus: 'tfds:NAME', any TFDS dataset with text (NAME as TFDS has it: 'lm1b', 'c4/en');
      'text:GLOB', local files, one document each; 'jsonl:GLOB', 'parquet:GLOB' or 'csv:GLOB', local
      files of records, one document each; or 'package:NAME', a pinned text. In each file of text:
      and package:, the first 90 % are for training, the next 5 % for validation, the last 5 % for
      the test; records are assigned to splits at random.
    directory: the folder of prepared TFDS datasets.
    fields: the fields of a record that form its document.
    train: the split to train on, in the dataset's syntax ('train[:95%]').
    validation: the split that selects the best checkpoint.
    test: the split to report.

  Raises:
    UserError: the corpus or a split is missing or empty, has no text, or cannot be prepared.
  """
  kind, name, source = find(corpus, SOURCES)
  if kind not in (*record_files.READERS, 'package') and fields != ('text',):
    raise UserError(f'data.fields = {show(fields)}: {kind}: has no records to read')
  expressions = {'train': train, 'validation': validation, 'test': test}
  loaded = source(name, expressions, directory, fields)

  size = 0
  for document in loaded.documents('train'):
    size += len(document)
    if size >= 2:
      return loaded
  raise UserError(f'{loaded.name}: the split {expressions["train"]!r} has {size} bytes to train on')


def load_records(
  corpus: str,
  directory: str = DIRECTORY,
  *,
  fields: tuple[str, ...],
  train: str = 'train',
  validation: str = 'validation',
  test: str = 'test',
) -> Records:
  """Opens records, such as texts with labels, and prepares them first if necessary.

  Args:
    corpus: 'tfds:NAME', any TFDS dataset; 'jsonl:GLOB', 'parquet:GLOB' or 'csv:GLOB', local files;
      'package:NAME', pinned records; or 'python:docstrings'.
    directory: the folder of prepared TFDS datasets.
    fields: the fields to read; of TFDS, also parts of features, such as 'answers.text'.
    train: the split to train on, in the dataset's syntax ('train[:95%]').
    validation: the split that selects the best checkpoint.
    test: the split to report.

  Raises:
    UserError: the source, a field or a split is missing, a split is empty, or the source cannot be
      prepared.
  """
  _, name, source = find(corpus, RECORD_SOURCES)
  expressions = {'train': train, 'validation': validation, 'test': test}
  return source(name, expressions, directory, fields)


def find(
  corpus: str, sources: Mapping[str, Callable[..., Any]]
) -> tuple[str, str, Callable[..., Any]]:
  """Returns the prefix of a corpus, the name after it, and the function that opens it."""
  kind, _, name = corpus.partition(':')
  if kind not in sources or not name:
    choices = one_of(f'{kind}:', [f'{prefix}:' for prefix in sources], 'the start')
    raise UserError(f'data.corpus = {corpus}: {choices}, followed by a name or pattern')
  return kind, name, sources[kind]


def record_fields(corpus: str) -> tuple[str, ...]:
  """Returns the fields of a source that has only records; () for other sources."""
  kind, _, name = corpus.partition(':')
  if kind == 'python':
    return docstrings.FIELDS
  return packages.find(name).fields if kind == 'package' else ()
