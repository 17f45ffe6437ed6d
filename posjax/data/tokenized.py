"""Documents as token ids: bytes are read as they are, other ids are prepared once and kept.

Text is tokenized on its first use, into array_record files in $XDG_CACHE_HOME/posjax/tokenized, by
default in ~/.cache; a folder there belongs to one corpus and one tokenizer, by their hashes. A
document's ids are stored as little-endian int32.
"""

import dataclasses
import os
import pathlib
import re
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence

import numpy as np

from posjax.batch import Example, Indexed
from posjax.data.corpus import SPLITS, Corpus, Documents
from posjax.data.tokenizer import BYTES, Tokenizer
from posjax.errors import UserError

PART = 2**20  # bytes of a long document to tokenize in one call, which takes 180 times the memory

END = re.compile(rb'\S\n(?=\S)')  # of a line


def documents(corpus: Corpus, split: str, tokenizer: Tokenizer) -> Documents:
  """Returns the ids of each document of a split, without special tokens; indexing reads them.

  Ids are int32, read-only; those of bytes are uint8, which takes a quarter of the memory: convert
  the part that you use.

  Raises:
    UserError: the split does not exist, or the cache cannot be written.
  """
  texts = corpus.documents(split)
  if tokenizer is BYTES:
    return Documents(texts, lambda text: np.frombuffer(text, np.uint8))
  expression = corpus.splits[SPLITS.index(split)]
  cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'posjax', 'tokenized')
  try:
    folder = cache.expanduser() / f'{corpus.sha256[:16]}-{tokenizer.sha256[:16]}'
    path = folder / f'{urllib.parse.quote(expression, safe="")}.array_record'
    if not path.exists():
      folder.mkdir(parents=True, exist_ok=True)
      write(path, texts, tokenizer, f'tokenizing {corpus.name}, {expression}')
  except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
    raise UserError(
      f'{cache}: {error}; XDG_CACHE_HOME names another folder for tokenized text'
    ) from error
  return read(path)


def write(path: pathlib.Path, texts: Sequence[bytes], tokenizer: Tokenizer, title: str) -> None:
  """Writes the ids of each text to an array_record file, which appears when it is complete."""
  import tqdm
  from array_record.python.array_record_module import ArrayRecordWriter

  with tempfile.TemporaryDirectory(dir=path.parent) as folder:
    unfinished, size = pathlib.Path(folder, path.name), sum(map(len, texts))
    writer = ArrayRecordWriter(str(unfinished), 'group_size:1')
    with tqdm.tqdm(desc=title, total=size, unit='B', unit_scale=True) as bar:
      for text in texts:
        ids = []
        for part in parts(text):
          ids.append(tokenizer.encode(part))
          bar.update(len(part))
        writer.write(np.concatenate(ids).astype('<i4').tobytes() if ids else b'')
    writer.close()
    unfinished.replace(path)


def parts(text: bytes) -> Iterator[bytes]:
  """Yields a text in parts of about `PART` bytes, each but the last up to the end of a line.

  No white space precedes or follows that end: there, splitting changes no ids of tokenizers that
  separate words from the white space after them.
  """
  start = 0
  while start < len(text):
    end = END.search(text, start + PART)
    stop = end.end() if end else len(text)
    yield text[start:stop]
    start = stop


def read(path: pathlib.Path) -> Documents:
  """Returns the ids of each document in an array_record file."""
  from array_record.python.array_record_data_source import ArrayRecordDataSource

  source = ArrayRecordDataSource([str(path)])
  return Documents(range(len(source)), lambda index: np.frombuffer(source[index], '<i4'))


@dataclasses.dataclass(frozen=True, eq=False)
class Pieces:
  """A document in pieces of at most `length` targets.

  The first input of a piece is the last target of the previous piece, or BOS: every token is a
  target exactly once, and BOS is never a target.
  """

  ids: np.ndarray
  length: int
  bos: int

  @classmethod
  def of_all(
    cls, documents: Documents, length: int, tokenizer: Tokenizer
  ) -> Indexed[Indexed[Example]]:
    """Returns the pieces of each document of `documents`; indexing reads the document."""
    return Documents(range(len(documents)), lambda i: cls(documents[i], length, tokenizer.bos))

  def __len__(self) -> int:
    return -(-len(self.ids) // self.length)

  def __getitem__(self, index: int) -> Example:
    tokens = piece(self.ids, index * self.length, self.length, self.bos)
    return Example(tokens[:-1], tokens[1:], np.ones(len(tokens) - 1, bool))


def piece(ids: np.ndarray, start: int, length: int, bos: int) -> np.ndarray:
  """Returns `length` ids from `start` on, int32, preceded by the id before, or by BOS."""
  found = ids[start : start + length]
  tokens = np.empty(1 + len(found), np.int32)
  tokens[0] = ids[start - 1] if start else bos
  tokens[1:] = found
  return tokens
