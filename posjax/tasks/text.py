"""Text: predicts the next byte; loss by length under the two protocols of data/windows.py.

Within a protocol, all lengths score the same bytes; data/excerpts.py selects the held-out bytes.
BOS, which starts each document, is not a byte and is never scored.
"""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from posjax import data
from posjax.batch import Batch, Example, Indexed, Stream
from posjax.data.corpus import Documents
from posjax.data.windows import non_overlapping, slides, sliding
from posjax.errors import UserError
from posjax.tasks.core.task import Data, Task, Test


@dataclasses.dataclass(frozen=True)
class Text(Task):
  tokens: int = 131_072  # held-out bytes that the non-overlapping protocol scores at each length
  stride: int = 32  # last bytes of a window that the sliding protocol scores
  windows: int = 512  # sliding windows at each length, evenly spaced over the held-out bytes
  validation_tokens: int = 32_768  # bytes to score with each checkpoint
  vocabulary = data.TEXT
  unit = 'byte'
  best = 'nats/byte'
  shown = ('bits/byte',)
  evaluation = ('tokens', 'stride', 'windows', 'validation_tokens')
  never = (data.BOS,)  # BOS starts documents, so it never follows a token

  def check(self, length: int) -> None:
    for name in self.evaluation:
      if not 1 <= getattr(self, name) < 2**31:
        raise ValueError(f'{name} = {getattr(self, name)}: must be in [1, 2147483647]')
    if self.stride > length:
      raise ValueError(f'stride = {self.stride}: must be at most train.length = {length}')

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    loaded = data.load(**corpus)
    texts = data.excerpts(loaded, 'validation', tokens=self.validation_tokens, excerpt=length)
    check_length(texts, length, 'validation', 'validation_tokens', self.validation_tokens)
    tests, scored = self.tests(loaded, lengths)
    return Data(
      name=str(loaded), sha256=loaded.sha256, split=loaded.splits[0],
      train=Pieces.of_all(loaded.documents('train'), length),
      validation=batch(*non_overlapping(texts, length)),
      tests=tests, scored=scored, prompt=prompt(loaded),
    )

  def tests(self, corpus: data.Corpus, lengths: Sequence[int]) -> tuple[dict[str, Test], str]:
    """Returns the tests by protocol, and a line with the number of documents that they score."""
    whole, first = math.lcm(*lengths), lengths[-1]
    # A window can slide only in a text longer than itself: take twice the longest.
    texts = data.excerpts(corpus, 'test', tokens=self.tokens, excerpt=2 * whole)
    check_length(texts, max(whole, first + self.stride), 'test', 'tokens', self.tokens)
    cut = [text[: (len(text) - 1) // whole * whole + 1] for text in texts if len(text) > whole]
    steps = len(slides(texts, self.stride, first))
    slide = dict(stride=self.stride, first=first, count=min(self.windows, steps))
    rows = {
      'non-overlapping': {n: batch(*non_overlapping(cut, n)) for n in lengths},
      'sliding': {n: batch(*sliding(texts, n, **slide)) for n in lengths},
    }
    number = {name: int(batches[lengths[0]].weights.sum()) for name, batches in rows.items()}
    titles = {
      'non-overlapping': (
        f'non-overlapping, the same {number["non-overlapping"]:,} bytes at each length, drawn '
        'evenly over documents'
      ),
      'sliding': (
        f'sliding, stride {self.stride}, the same {number["sliding"]:,} bytes at each length '
        f'({slide["count"]:,} of {steps:,} windows)'
      ),
    }
    documents = sum(max(1, int(np.count_nonzero(text[:-1] == data.BOS))) for text in cut)
    scored = f'scored: {documents:,} of {len(corpus.documents("test")):,} documents'
    return {name: Test(titles[name], rows[name]) for name in rows}, scored

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    return {'nats/byte': (self.loss(outputs, batch), batch.weights)}

  def summary(self, means: dict[str, float]) -> dict[str, float]:
    return means | {'bits/byte': means['nats/byte'] / math.log(2)}

  def hint(self, data: Data, limit: float, tokens: int) -> str:
    beginning = cut(data.prompt, int(min(20, limit / 2)))
    most = limit - len(beginning.encode()) - 1  # BOS
    fewer = '' if most >= tokens else f'--config.generate.tokens={most} '
    return f'{fewer}--mode=generate --prompt={shlex.quote(beginning)}'

  def encode(self, text: bytes) -> np.ndarray:
    return data.encode(text)

  def decode(self, tokens: np.ndarray) -> bytes:
    return data.decode(tokens)


@dataclasses.dataclass(frozen=True)
class Pieces:
  """A document in pieces of at most `length` targets.

  The first input of a piece is the last target of the previous piece, or BOS: every byte is a
  target exactly once, and BOS is never a target.
  """

  text: bytes
  length: int

  @classmethod
  def of_all(cls, documents: Sequence[bytes], length: int) -> Indexed[Indexed[Example]]:
    """Returns the pieces of each document; indexing reads the document."""
    return Documents(documents, lambda text: cls(text, length))

  def __len__(self) -> int:
    return -(-len(self.text) // self.length)

  def __getitem__(self, index: int) -> Example:
    tokens = data.piece(self.text, index * self.length, self.length)
    return Example(tokens[:-1], tokens[1:], np.ones(len(tokens) - 1, bool))


def batch(windows: np.ndarray, weights: np.ndarray) -> Batch:
  """Returns a batch of windows [rows, L + 1]; `weights` [rows, L] select the scored targets."""
  targets = windows[:, 1:]
  return Batch(Stream(windows[:, :-1]), targets, weights & (targets != data.BOS))


def check_length(
  texts: list[np.ndarray], least: int, split: str, key: str, tokens: int
) -> None:
  """Raises UserError if no text of a split has `least` bytes."""
  longest = max(map(len, texts)) - 1
  if longest < least:
    more = f'raise task.text.{key}, ' if tokens < least else ''  # no help for a small corpus
    raise UserError(
      f'task.text.{key}: the {split} split gives {longest:,} bytes, but {least:,} are needed; '
      f'{more}lower evaluate.multiples or train.length, or use a larger corpus'
    )


def prompt(corpus: data.Corpus) -> str:
  """Returns the start of a printable line of held-out text, at most 20 bytes; '' if none."""
  excerpt, *_ = data.excerpts(corpus, 'test', tokens=1000, excerpt=1000)
  first, *lines = data.decode(excerpt).decode('utf-8', 'ignore').split('\n')
  words = [cut(line.strip(), 20) for line in [*lines, first]]  # the first line may be partial
  return next((text for text in words if text and text.isprintable()), '')


def cut(text: str, size: int) -> str:
  """Returns the first `size` bytes of UTF-8 of a text, without a partial character at the end."""
  return text.encode()[:size].decode('utf-8', 'ignore')
