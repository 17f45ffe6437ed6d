"""Tasks of questions and answers: strings of tokens, generated."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from posjax import data
from posjax.batch import Batch, Example
from posjax.errors import UserError
from posjax.tasks.core.generated import Generated, Lazy, identity, name_of
from posjax.tasks.core.pairs import Pairs, lay_out
from posjax.tasks.core.task import Data, Test


@dataclasses.dataclass(frozen=True)
class Strings(Pairs):
  """A question and its answer, with the ids of bytes; the layout is that of `Pairs`.

  Override `make` and `guess`. Training draws sizes uniformly up to the largest that fits a row; a
  test uses only the largest size for its length. Token accuracy does not count the EOS of an
  answer, exact match does. In an encoder, the answer has a slot for each of its tokens, so that the
  model knows their number.
  """

  rows: int = 256  # rows of a test at each length
  forms = ('decoder', 'encoder_decoder', 'encoder')
  vocabulary = data.ALL
  evaluation = ('rows',)
  smallest: ClassVar[int] = 1  # size of a problem

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tokens of question and answer of a problem of `size`."""
    raise NotImplementedError

  def longest(self, size: int) -> tuple[int, int]:
    """Returns the largest numbers of tokens of a question and of an answer of `size`."""
    return size, size

  def guess(self, size: int) -> float:
    """Returns the best token accuracy of a guess that knows only the size of the problem."""
    raise NotImplementedError

  def guess_exact(self, size: int) -> float:
    """Returns the share of exact matches of such a guess."""
    return self.guess(size) if self.longest(size)[1] == 1 else 0.0

  def room(self, size: int) -> int:
    """Returns the tokens of the longest row, or source, of a problem of `size`."""
    question, answer = self.longest(size)
    rows = {
      'decoder': question + answer + 2, 'encoder': question + answer,
      'encoder_decoder': max(question, answer) + 1,
    }
    return rows[self.form or 'decoder']

  def check(self, length: int) -> None:
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')
    if self.room(self.smallest) > length:
      raise ValueError(f'train.length = {length}: must be at least {self.room(self.smallest)}')
    if self.tokenizer.name != 'bytes':
      raise ValueError(
        f'data.tokenizer = {self.tokenizer.name}: {name_of(self)} has no text; leave it at bytes'
      )

  def largest(self, length: int) -> int:
    """Returns the largest size for which every problem fits in `length` tokens.

    Raises:
      UserError: no problem fits.
    """
    if (least := self.room(self.smallest)) > length:
      raise UserError(
        f'evaluate.multiples: rows of {length} tokens are too short; the smallest problem of '
        f'{name_of(self)} needs {least}'
      )
    sizes = range(self.smallest, length + 1)
    return max(size for size in sizes if self.room(size) <= length)

  def example(self, rng: np.random.Generator, size: int) -> Example:
    """Returns a problem, laid out for the form of the model."""
    question, answer = self.make(rng, size)
    return lay_out(self.form, self.tokenizer, question, answer)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    sizes = {n: self.largest(n) for n in lengths}
    train = lambda rng: self.example(rng, int(rng.integers(self.smallest, sizes[length] + 1)))
    floors = {
      n: {'exact match': self.guess_exact(size), 'token accuracy': self.guess(size)}
      for n, size in sizes.items()
    }
    told = ', '.join(str(size) for size in sizes.values())
    return Data(
      **identity(self), train=Generated(train, 'train'),
      validation=Generated(train, 'validation', 1024).rows(length, length),
      tests={name_of(self): Test(
        f'{self.rows:,} problems of size {told}',
        Lazy(self.test_rows, tuple(lengths)), floors,
      )},
    )

  def test_rows(self, length: int) -> Batch:
    """Returns the rows of a test, with problems of the largest size for `length`."""
    size = self.largest(length)
    make = lambda rng: self.example(rng, size)
    return Generated(make, 'test', self.rows).rows(length, length)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    found = super().metrics(outputs, batch)
    right_BT, weights_BT = found['token accuracy']
    answer_BT = weights_BT & (batch.targets != self.tokenizer.eos)
    return found | {'token accuracy': (right_BT, answer_BT)}
