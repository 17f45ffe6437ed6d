"""Tokenizers: text to token ids and back. Bytes need nothing to train or to download.

The special tokens follow the tokenizer's own ids and have the same order in all tasks, so that the
token tables of different tasks share their first rows. Of bytes, the id of a byte is its value. A
document of text is [BOS, b1 … bn].

Any tokenizer.json of the package `tokenizers` can take the place of bytes; tokenizer_file.py reads
it.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

SPECIAL = ('BOS', 'EOS', 'SEP', 'MASK', 'PAD')  # SEP: between question and answer
BOS, EOS, SEP, MASK, PAD = range(256, 261)  # after bytes
TEXT = BOS + 1  # vocabulary size of text
ALL = PAD + 1  # vocabulary size with all special tokens


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
  """Maps the bytes of a text to ids and back.

  Attributes:
    name: 'bytes', or the path of its file.
    size: the number of its own ids; the special tokens follow.
    sha256: hash of what determines its ids.
    encode: bytes -> ids, int32, without special tokens.
    decode: ids -> bytes; special tokens give none. The bytes of an id do not depend on others.
    lengths: bytes of each id, [size + 5] int32; None: ids do not stand for a number of bytes.
    never: its own ids that are no text, such as special tokens of the file.
  """

  name: str
  size: int
  sha256: str
  encode: Callable[[bytes], np.ndarray]
  decode: Callable[[np.ndarray], bytes]
  lengths: np.ndarray | None = dataclasses.field(repr=False)
  never: tuple[int, ...] = ()

  bos = property(lambda self: self.size)
  eos = property(lambda self: self.size + 1)
  sep = property(lambda self: self.size + 2)
  mask = property(lambda self: self.size + 3)
  pad = property(lambda self: self.size + 4)
  all = property(lambda self: self.size + len(SPECIAL))  # vocabulary size with all special tokens

  def __str__(self) -> str:
    return f'tokenizer {self.name}: {self.size:,} ids, SHA-256 {self.sha256[:12]}'

  def pieces(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of a sentence [N], and the index of each id's word [N], both int32.

    A space separates two words; it belongs to the second.
    """
    found = [self.encode(f'{" " * bool(i)}{word}'.encode()) for i, word in enumerate(words)]
    index = np.repeat(np.arange(len(words), dtype=np.int32), [len(ids) for ids in found])
    return np.concatenate([np.zeros(0, np.int32), *found]), index


def encode(text: bytes) -> np.ndarray:
  """Returns the tokens of one document, int32 [1 + len(text)]: BOS, then its bytes."""
  tokens = np.empty(1 + len(text), np.int32)
  tokens[0] = BOS
  tokens[1:] = np.frombuffer(text, np.uint8)
  return tokens


def decode(tokens: np.ndarray) -> bytes:
  """Returns the bytes of the tokens; special tokens are dropped."""
  tokens = np.asarray(tokens)
  return tokens[tokens < BOS].astype(np.uint8).tobytes()


BYTES = Tokenizer(
  name='bytes',
  size=BOS,
  sha256=hashlib.sha256(b'bytes').hexdigest(),
  encode=lambda text: encode(text)[1:],
  decode=decode,
  lengths=np.repeat(np.array([1, 0], np.int32), (BOS, len(SPECIAL))),
)
