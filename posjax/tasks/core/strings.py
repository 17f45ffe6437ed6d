"""Tasks of questions and answers: strings of tokens, generated."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posjax import data
from posjax.batch import Example
from posjax.tasks.core.generated import Generated, identity, name_of
from posjax.tasks.core.pairs import Pairs, lay_out
from posjax.tasks.core.task import Data, Test


@dataclasses.dataclass(frozen=True)
class Strings(Pairs):
  """A question and its answer, with the ids of bytes; the layout is that of `Pairs`.

  Override `make` and `chance`. Training draws sizes uniformly up to the largest that fits a row; a
  test uses only the largest size for its length.
  """

  rows: int = 256  # rows of a test at each length
  forms = ('decoder', 'encoder_decoder')
  vocabulary = data.ALL
  evaluation = ('rows',)

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tokens of question and answer of a problem of `size`."""
    raise NotImplementedError

  def room(self, size: int) -> int:
    """Returns the tokens of the longest row, or source, of a problem of `size`.

    By default, question and answer have `size` tokens each.
    """
    return size + 1 if self.form == 'encoder_decoder' else 2 * size + 2

  def chance(self) -> float:
    """Returns the token accuracy of random guessing."""
    raise NotImplementedError

  def check(self, length: int) -> None:
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')
    if self.room(1) > length:
      raise ValueError(f'train.length = {length}: must be at least {self.room(1)}')
    if self.tokenizer.name != 'bytes':
      raise ValueError(
        f'data.tokenizer = {self.tokenizer.name}: {name_of(self)} has no text; leave it at bytes'
      )

  def largest(self, length: int) -> int:
    """Returns the largest size for which every problem fits in `length` tokens."""
    return max(size for size in range(1, length) if self.room(size) <= length)

  def example(self, rng: np.random.Generator, size: int) -> Example:
    """Returns a problem, laid out for the form of the model."""
    question, answer = self.make(rng, size)
    return lay_out(self.form, self.tokenizer, question, answer)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    largest = {n: self.largest(n) for n in lengths}
    train = lambda rng: self.example(rng, int(rng.integers(1, self.largest(length) + 1)))
    test = lambda size: lambda rng: self.example(rng, size)
    floor = {'exact match': 0.0, 'token accuracy': self.chance()}
    sizes = ', '.join(str(size) for size in largest.values())
    return Data(
      **identity(self), train=Generated(train, 'train'),
      validation=Generated(train, 'validation', 1024).rows(length, length),
      tests={name_of(self): Test(
        f'{self.rows:,} problems of size {sizes}: the answer and EOS',
        {n: Generated(test(size), 'test', self.rows).rows(n, n) for n, size in largest.items()},
        dict.fromkeys(lengths, floor),
      )},
    )
