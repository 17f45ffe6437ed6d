"""Where text comes from: 'tfds:NAME', 'text:GLOB' or 'package:NAME' -> a corpus."""

import os

from posjax.config import UserError
from posjax.data import packages, text_files
from posjax.data.corpus import Corpus


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
    corpus: 'tfds:NAME', any TFDS dataset with text (NAME as TFDS has it: 'lm1b', 'c4/en');
      'text:GLOB', local files; or 'package:NAME', a pinned text. Of each file, the first 90 %
      train, the next 5 % are for validation, the last 5 % for the test.
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
    loaded = text_files.load(name, expressions)
  elif kind == 'package' and name:
    loaded = packages.load(name, expressions)
  else:
    raise UserError(f"corpus {corpus!r} must be 'tfds:NAME', 'text:GLOB' or 'package:NAME'")

  size = 0
  for document in loaded.documents('train'):
    size += len(document)
    if size >= 2:
      return loaded
  raise UserError(f'{loaded.name}: the split {expressions["train"]!r} has {size} bytes to train on')
