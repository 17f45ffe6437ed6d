"""Tasks of questions and answers: strings of tokens, generated."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax import data
from posjax.batch import Batch, Example
from posjax.tasks.core.generated import Generated, identity, name_of
from posjax.tasks.core.task import Data, Task, Test


@dataclasses.dataclass(frozen=True)
class Strings(Task):
  """A question and its answer, [BOS, question, SEP, answer, EOS]; only answer and EOS have a loss.

  Override `make` and `chance`. Training draws sizes uniformly up to the largest that fits a row; a
  test uses only the largest size for its length. Each target is compared with the most likely token
  given the true tokens before it: all match if and only if greedy decoding yields the exact answer.
  """

  rows: int = 256  # rows of a test at each length
  vocabulary = data.ALL
  best = 'nats/token'
  shown = ('exact match', 'token accuracy')
  evaluation = ('rows',)

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tokens of question and answer of a problem of `size`."""
    raise NotImplementedError

  def room(self, size: int) -> int:
    """Returns the tokens of the longest problem of `size`: 2 `size` + 2, for BOS and SEP."""
    return 2 * size + 2

  def chance(self) -> float:
    """Returns the token accuracy of random guessing."""
    raise NotImplementedError

  def check(self, length: int) -> None:
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')
    if self.room(1) > length:
      raise ValueError(f'train.length = {length}: must be at least {self.room(1)}')

  def largest(self, length: int) -> int:
    """Returns the largest size for which every problem fits in `length` tokens."""
    return max(size for size in range(1, length) if self.room(size) <= length)

  def example(self, rng: np.random.Generator, size: int) -> Example:
    """Returns a problem, laid out for a decoder."""
    question, answer = self.make(rng, size)
    tokens = np.concatenate([[data.BOS], question, [data.SEP], answer, [data.EOS]]).astype(np.int32)
    learned = np.arange(len(tokens) - 1) > len(question)
    return Example(tokens[:-1], tokens[1:], learned)

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

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    right_BT = jnp.argmax(outputs, axis=-1) == batch.targets
    asked_B = jnp.any(batch.weights, axis=-1)
    return {
      'exact match': (jnp.all(right_BT | ~batch.weights, axis=-1), asked_B),
      'token accuracy': (right_BT, batch.weights),
      'nats/token': (self.loss(outputs, batch), batch.weights),
    }
