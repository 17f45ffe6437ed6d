"""Text: predicts the next token; loss by length under the two protocols of data/windows.py.

Within a protocol, all lengths score the same tokens; data/excerpts.py selects the held-out tokens.
BOS, which starts each document, is no text and is never scored. A token is a byte unless the config
names another tokenizer; bits per byte are then the loss of all scored tokens, divided by the bytes
of exactly these tokens.
"""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax import data
from posjax.batch import Batch, Stream
from posjax.data import tokenized
from posjax.data.tokenizer import BYTES
from posjax.data.windows import non_overlapping, slides, sliding
from posjax.errors import UserError
from posjax.tasks.core.task import Data, Task, Test


@dataclasses.dataclass(frozen=True)
class Text(Task):
  tokens: int = 131_072  # held-out tokens that the non-overlapping protocol scores at each length
  stride: int = 32  # last tokens of a window that the sliding protocol scores
  windows: int = 512  # sliding windows at each length, evenly spaced over the held-out text
  validation_tokens: int = 32_768  # tokens to score with each checkpoint
  evaluation = ('tokens', 'stride', 'windows', 'validation_tokens')

  @property
  def vocabulary(self) -> int:  # type: ignore[override]
    return self.tokenizer.size + 1  # BOS

  @property
  def unit(self) -> str:  # type: ignore[override]
    return 'byte' if self.tokenizer is BYTES else 'token'

  @property
  def best(self) -> str:  # type: ignore[override]
    return f'nats/{self.unit}'

  @property
  def shown(self) -> tuple[str, ...]:  # type: ignore[override]
    return (self.best,) if self.tokenizer.lengths is None else ('bits/byte',)

  @property
  def never(self) -> tuple[int, ...]:  # type: ignore[override]
    return (*self.tokenizer.never, self.tokenizer.bos)  # BOS starts documents: it follows no token

  def check(self, length: int) -> None:
    for name in self.evaluation:
      if not 1 <= getattr(self, name) < 2**31:
        raise ValueError(f'{name} = {getattr(self, name)}: must be in [1, 2147483647]')
    if self.stride > length:
      raise ValueError(f'stride = {self.stride}: must be at most train.length = {length}')

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    loaded = data.load(**corpus)
    texts = self.excerpts(loaded, 'validation', self.validation_tokens, length)
    self.check_length(texts, length, 'validation', 'validation_tokens')
    tests, scored = self.tests(loaded, lengths)
    return Data(
      name=str(loaded), sha256=loaded.sha256, split=loaded.splits[0],
      train=tokenized.Pieces.of_all(
        tokenized.documents(loaded, 'train', self.tokenizer), length, self.tokenizer
      ),
      validation=self.batch(*non_overlapping(texts, length)),
      tests=tests, scored=scored, prompt=self.beginning(loaded),
    )

  def excerpts(
    self, corpus: data.Corpus, split: str, tokens: int, excerpt: int
  ) -> list[np.ndarray]:
    """Returns held-out text of a split, see `data.excerpts`."""
    return data.excerpts(corpus, split, tokens=tokens, excerpt=excerpt, tokenizer=self.tokenizer)

  def tests(self, corpus: data.Corpus, lengths: Sequence[int]) -> tuple[dict[str, Test], str]:
    """Returns the tests by protocol, and a line with the number of documents that they score."""
    whole, first = math.lcm(*lengths), lengths[-1]
    # A window can slide only in a text longer than itself: take twice the longest.
    texts = self.excerpts(corpus, 'test', self.tokens, 2 * whole)
    self.check_length(texts, max(whole, first + self.stride), 'test', 'tokens')
    cut = [text[: (len(text) - 1) // whole * whole + 1] for text in texts if len(text) > whole]
    steps = len(slides(texts, self.stride, first))
    slide = dict(stride=self.stride, first=first, count=min(self.windows, steps))
    rows = {
      'non-overlapping': {n: self.batch(*non_overlapping(cut, n)) for n in lengths},
      'sliding': {n: self.batch(*sliding(texts, n, **slide)) for n in lengths},
    }
    number = {name: int(batches[lengths[0]].weights.sum()) for name, batches in rows.items()}
    titles = {
      'non-overlapping': (
        f'non-overlapping, the same {number["non-overlapping"]:,} {self.unit}s at each length, '
        'drawn evenly over documents'
      ),
      'sliding': (
        f'sliding, stride {self.stride}, the same {number["sliding"]:,} {self.unit}s at each '
        f'length ({slide["count"]:,} of {steps:,} windows)'
      ),
    }
    documents = sum(max(1, int(np.count_nonzero(text[:-1] == self.tokenizer.bos))) for text in cut)
    scored = f'scored: {documents:,} of {len(corpus.documents("test")):,} documents'
    return {name: Test(titles[name], rows[name]) for name in rows}, scored

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    found = {self.best: (self.loss(outputs, batch), batch.weights)}
    if self.tokenizer is not BYTES and self.tokenizer.lengths is not None:
      found['bytes/token'] = (jnp.asarray(self.tokenizer.lengths)[batch.targets], batch.weights)
    return found

  def summary(self, means: dict[str, float]) -> dict[str, float]:
    if self.tokenizer.lengths is None:
      return means
    return means | {'bits/byte': means[self.best] / math.log(2) / means.get('bytes/token', 1)}

  def hint(self, data: Data, limit: float, tokens: int) -> str:
    beginning = cut(data.prompt, int(min(20, limit / 2)))
    most = limit - len(self.prompt(beginning.encode())[0])
    fewer = '' if most >= tokens else f'--config.generate.tokens={most} '
    return f'{fewer}--mode=generate --prompt={shlex.quote(beginning)}'

  def prompt(self, text: bytes) -> tuple[np.ndarray, None]:
    tokens = np.concatenate([[self.tokenizer.bos], self.tokenizer.encode(text)])
    return tokens.astype(np.int32), None

  def decode(self, tokens: np.ndarray) -> bytes:
    return self.tokenizer.decode(tokens)

  def batch(self, windows: np.ndarray, weights: np.ndarray) -> Batch:
    """Returns a batch of windows [rows, L + 1]; `weights` [rows, L] select the scored targets."""
    targets = windows[:, 1:]
    return Batch(Stream(windows[:, :-1]), targets, weights & (targets != self.tokenizer.bos))

  def check_length(self, texts: list[np.ndarray], least: int, split: str, key: str) -> None:
    """Raises UserError if no text of a split, drawn as argument `key` says, has `least` tokens."""
    longest = max(map(len, texts)) - 1
    if longest < least:
      # More does not help with a small corpus.
      more = f'raise task.text.{key}, ' if getattr(self, key) < least else ''
      raise UserError(
        f'task.text.{key}: the {split} split gives {longest:,} {self.unit}s, but {least:,} are '
        f'needed; {more}lower evaluate.multiples or train.length, or use a larger corpus'
      )

  def beginning(self, corpus: data.Corpus) -> str:
    """Returns the start of a printable line of held-out text, at most 20 bytes; '' if none."""
    excerpt, *_ = self.excerpts(corpus, 'test', 1000, 1000)
    first, *lines = self.decode(excerpt).decode('utf-8', 'ignore').split('\n')
    words = [cut(line.strip(), 20) for line in [*lines, first]]  # the first line may be partial
    return next((text for text in words if text and text.isprintable()), '')


def cut(text: str, size: int) -> str:
  """Returns the first `size` bytes of UTF-8 of a text, without a partial character at the end."""
  return text.encode()[:size].decode('utf-8', 'ignore')
