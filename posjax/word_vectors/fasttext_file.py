"""The .bin files of fastText (Bojanowski et al. 2017, arXiv 1607.04606), little-endian.

  new layout only: magic, version        int32
  settings                               12 int32, 1 float64 (SETTINGS)
  words + labels, words, labels          int32
  tokens; new layout: pruned buckets     int64
  each word, then each label             its bytes, a zero byte, int64 count, int8 kind
  new layout: whether quantized          int8
  rows, columns of the input table       int64, then float32: the words, then the buckets
  the same for the output table
"""

import mmap
import pathlib
import struct

import numpy as np

from posjax.errors import UserError
from posjax.word_vectors.subwords import Subwords

MAGIC = 793712314
SETTINGS = (
  'dim', 'window', 'epochs', 'min_count', 'negatives', 'word_ngrams', 'loss', 'model', 'buckets',
  'min_n', 'max_n', 'update_rate',
)
SUPERVISED = 3  # the value of `model` for classifiers


class Reader:
  """Reads numbers and words of `content` one after the other.

  Raises:
    UserError: (each method) the file ends before.
  """

  def __init__(self, path: pathlib.Path, content: bytes | mmap.mmap) -> None:
    self.path, self.content, self.at = path, content, 0

  def corrupt(self, why: str) -> UserError:
    return UserError(f'{self.path}: {why}; this fastText .bin file is truncated or corrupt')

  def skip(self, size: int) -> int:
    """Returns the current offset and moves it by `size` bytes."""
    if not 0 <= size <= len(self.content) - self.at:
      raise self.corrupt(f'it ends {size - len(self.content) + self.at:,} bytes too early')
    self.at += size
    return self.at - size

  def numbers(self, kinds: str) -> tuple:
    """Returns numbers in the notation of `struct`: i, q, b, d."""
    return struct.unpack_from(f'<{kinds}', self.content, self.skip(struct.calcsize(f'<{kinds}')))

  def word(self) -> str:
    """Returns a word that ends with a zero byte; its vocabulary entry ends 9 bytes later."""
    end = self.content.find(b'\0', self.at)
    if end < 0:
      raise self.corrupt('it ends within its vocabulary')
    word = self.content[self.at : end]
    self.at = end + 1
    self.numbers('qb')
    return word.decode('utf-8', 'surrogateescape')

  def table(self, rows: int | None, dim: int) -> np.ndarray:
    """Returns a float32 table of `rows` rows, if given, and `dim` columns."""
    shape = self.numbers('qq')
    if shape[1] != dim or shape[0] != (shape[0] if rows is None else rows):
      raise self.corrupt(f'a table is {shape[0]} x {shape[1]}, not {rows or "rows"} x {dim}')
    start = self.skip(4 * shape[0] * dim)
    return np.frombuffer(self.content, '<f4', shape[0] * dim, start).reshape(shape)


def recognizes(content: bytes | mmap.mmap) -> bool:
  """Returns whether a file is a fastText .bin: text and word2vec files begin with characters."""
  return content[:4] == struct.pack('<i', MAGIC) or b'\0' in content[:8]


def parse(path: pathlib.Path, content: bytes | mmap.mmap) -> Subwords:
  """Returns the words and buckets of a file in the new or the old layout.

  Raises:
    UserError: the file is truncated or corrupt, or its tables are quantized.
  """
  reader = Reader(path, content)
  new = content[:4] == struct.pack('<i', MAGIC)
  version = reader.numbers('ii')[1] if new else 11
  settings = dict(zip(SETTINGS, reader.numbers(f'{len(SETTINGS)}id'), strict=False))
  entries, count, labels, _ = reader.numbers('iiiq')
  pruned = reader.numbers('q')[0] if new else -1
  if not 0 < count <= entries == count + labels:
    raise reader.corrupt(f'{entries:,} entries are not {count:,} words and {labels:,} labels')
  words = [reader.word() for _ in range(entries)][:count]
  if pruned > 0 or new and reader.numbers('b')[0]:
    raise UserError(f'{path}: its tables are quantized; read the .bin file it was made from')
  # Classifiers before version 12 have no n-grams although they have settings for them.
  plain = version < 12 and settings['model'] == SUPERVISED or settings['max_n'] == 0
  table = reader.table(count + settings['buckets'], settings['dim'])
  if new:
    reader.numbers('b')
  reader.table(None, settings['dim'])
  if reader.at != len(content):
    raise reader.corrupt(f'it continues for {len(content) - reader.at:,} bytes after its end')
  return Subwords(words, table, settings['min_n'], 0 if plain else settings['max_n'])
