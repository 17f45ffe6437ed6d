"""Sources of text: the kinds that `data.corpus` can name, as PREFIX:NAME."""

import os

from posjax.data import packages, records, text_files
from posjax.data.corpus import Corpus
from posjax.errors import UserError, one_of, show


def tfds(
  name: str, splits: dict[str, str], directory: str, fields: tuple[str, ...]
) -> Corpus:
  """Returns a TFDS dataset; see prepared.py."""
  from posjax.data import prepared  # slow to import

  return prepared.load(name, os.path.expanduser(directory), splits)


# Prefix -> a function of the name after it, the expressions of train, validation and test, and the
# arguments `directory` and `fields` of `load`.
SOURCES = {
  'tfds': tfds,
  'text': lambda glob, splits, *_: text_files.load(glob, splits),
  'jsonl': lambda glob, splits, _, fields: records.load('jsonl', glob, splits, fields),
  'parquet': lambda glob, splits, _, fields: records.load('parquet', glob, splits, fields),
  'package': lambda name, splits, *_: packages.load(name, splits),
}


def load(
  corpus: str,
  directory: str = '~/tensorflow_datasets',
  *,
  fields: tuple[str, ...] = ('text',),
  train: str = 'train',
  validation: str = 'validation',
  test: str = 'test',
) -> Corpus:
  """Opens a corpus, and prepares it first if necessary.

  Args:
    corpus: 'tfds:NAME', any TFDS dataset with text (NAME as TFDS has it: 'lm1b', 'c4/en');
      'text:GLOB', local files, one document each; 'jsonl:GLOB' or 'parquet:GLOB', local files of
      records, one document each; or 'package:NAME', a pinned text. In each file of text: and
      package:, the first 90 % are for training, the next 5 % for validation, the last 5 % for the
      test; records are assigned to splits at random.
    directory: the folder of prepared TFDS datasets.
    fields: the fields of a record that form its document.
    train: the split to train on, in the dataset's syntax ('train[:95%]').
    validation: the split that selects the best checkpoint.
    test: the split to report.

  Raises:
    UserError: the corpus or a split is missing or empty, has no text, or cannot be prepared.
  """
  kind, _, name = corpus.partition(':')
  if kind not in SOURCES or not name:
    choices = one_of(f'{kind}:', [f'{prefix}:' for prefix in SOURCES], 'the start')
    raise UserError(f'data.corpus = {corpus}: {choices}, followed by a name or pattern')
  if kind not in records.READERS and fields != ('text',):
    raise UserError(f'data.fields = {show(fields)}: {kind}: has no records to read')
  expressions = {'train': train, 'validation': validation, 'test': test}
  loaded = SOURCES[kind](name, expressions, directory, fields)

  size = 0
  for document in loaded.documents('train'):
    size += len(document)
    if size >= 2:
      return loaded
  raise UserError(f'{loaded.name}: the split {expressions["train"]!r} has {size} bytes to train on')
