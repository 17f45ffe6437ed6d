"""Files of word vectors: word2vec, GloVe and fastText; the format is recognized from the content.

  word2vec text, fastText .vec   a header "V D", then lines of a word and D numbers
  GloVe text                     the same lines without a header
  word2vec binary                a header "V D", then records: a word, a blank, D float32
  fastText .bin                  see fasttext_file.py

Words are UTF-8; other bytes become surrogates, as in `os.fsdecode`. A name that ends in .gz, .bz2,
.xz or .zst is decompressed.
"""

import mmap
import os
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from posjax.data import files
from posjax.errors import UserError
from posjax.word_vectors import fasttext_file
from posjax.word_vectors.subwords import Subwords

Content = bytes | mmap.mmap


def read(path: str | os.PathLike[str]) -> tuple[list[str], np.ndarray]:
  """Returns the words of a file and their vectors, [V, D] float32.

  Raises:
    UserError: the file cannot be read, has no vectors, is truncated, or contradicts its header.
  """
  path = pathlib.Path(path)
  content = load(path)
  if fasttext_file.recognizes(content):
    model = fasttext_file.parse(path, content)
    return model.words, model.vectors()
  start = len(files.BOM) if content[:3] == files.BOM else 0
  end = content.find(b'\n', start)
  header = re.fullmatch(rb'(\d+) (\d+)\s*', content[start : end + 1])
  if not header:
    return text(path, content, start, None)
  words, dim = map(int, header.groups())
  row = next(lines(content, end + 1), b'')
  if numbers(row, dim) is None:
    return binary(path, content, end + 1, words, dim)
  return text(path, content, end + 1, (words, dim))


def read_subwords(path: str | os.PathLike[str]) -> Subwords:
  """Returns the words and n-grams of a fastText .bin file, which give any word a vector.

  Raises:
    UserError: as `read`; or the file has another format.
  """
  path = pathlib.Path(path)
  content = load(path)
  if not fasttext_file.recognizes(content):
    raise UserError(f'{path}: only a fastText .bin file has subwords; this is another format')
  return fasttext_file.parse(path, content)


def has_subwords(path: str | os.PathLike[str]) -> bool:
  """Returns whether a file is a fastText .bin, which `read_subwords` reads."""
  return fasttext_file.recognizes(load(pathlib.Path(path)))


def load(path: pathlib.Path) -> Content:
  """Returns the content of a file; it stays on disk unless it is compressed."""
  with files.opened(path) as (file, (size, _)):
    if not size:
      raise UserError(f'{path} is empty')
    if path.suffix.lower() in files.MODULES:
      return files.decompress(path, file.read())
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def lines(content: Content, start: int) -> Iterator[bytes]:
  """Yields the lines from byte `start` on, without their line ends."""
  while start < len(content):
    end = content.find(b'\n', start)
    end = len(content) if end < 0 else end
    yield content[start:end]
    start = end + 1


def numbers(row: bytes, dim: int) -> tuple[bytes, np.ndarray] | None:
  """Returns the word and the `dim` numbers of a line, or None. A word may contain blanks."""
  word, *values = row.rstrip().rsplit(b' ', dim)
  try:
    vector = np.array(values, np.float32)
  except ValueError:
    return None
  return (word, vector) if dim and len(vector) == dim else None


def text(
  path: pathlib.Path, content: Content, start: int, header: tuple[int, int] | None
) -> tuple[list[str], np.ndarray]:
  """Returns the words and vectors of the lines from `start` on; `header` is (V, D) or None."""
  words, vectors, dim = [], [], header and header[1]
  for number, row in enumerate(lines(content, start), 2 if header else 1):
    if not row.strip():
      continue
    dim = dim or len(row.split()) - 1
    parsed = numbers(row, dim)
    if parsed is None:
      wanted = f'a word and {dim} numbers' if dim else 'a word and its numbers'
      raise UserError(f'{path}:{number}: expected {wanted}; the file is truncated or corrupt')
    words.append(parsed[0].decode('utf-8', 'surrogateescape'))
    vectors.append(parsed[1])
  if header and len(words) != header[0]:
    raise UserError(
      f'{path}: its header promises {header[0]:,} words, but it has {len(words):,}; '
      'it is truncated or corrupt'
    )
  if not words:
    raise UserError(f'{path} has no vectors')
  return words, np.stack(vectors)


def binary(
  path: pathlib.Path, content: Content, start: int, words: int, dim: int
) -> tuple[list[str], np.ndarray]:
  """Returns the words and vectors of `words` binary records from byte `start` on."""
  promise = f'{path}: its header promises {words:,} vectors of {dim:,} numbers'
  if not words or not dim or words * (4 * dim + 1) > len(content) - start:
    raise UserError(f'{promise}; it is truncated or corrupt')
  found, vectors = [], np.empty((words, dim), np.float32)
  for row in range(words):
    blank = content.find(b' ', start)
    if blank < 0 or blank + 1 + 4 * dim > len(content):
      raise UserError(
        f'{promise}, but it ends in number {row + 1:,}; it is truncated or corrupt'
      )
    # word2vec.c ends each record with a newline, other programs do not.
    found.append(content[start:blank].lstrip(b'\n').decode('utf-8', 'surrogateescape'))
    vectors[row] = np.frombuffer(content, '<f4', dim, blank + 1)
    start = blank + 1 + 4 * dim
  if content[start : start + 2].strip():
    raise UserError(f'{promise}, but it has more; it is corrupt')
  return found, vectors


def write(path: str | os.PathLike[str], words: list[str], vectors: np.ndarray) -> None:
  """Writes vectors [V, D] as word2vec text, with digits enough to read the same float32 again."""
  with open(path, 'w', encoding='utf-8', errors='surrogateescape', newline='\n') as file:
    file.write(f'{len(words)} {vectors.shape[1]}\n')
    for word, vector in zip(words, vectors, strict=True):
      file.write(f'{word} {" ".join(map(str, vector.astype(np.float32)))}\n')
