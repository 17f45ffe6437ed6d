"""Tasks whose examples are made, not read: random access, any host makes any example.

Example i of a split is drawn by a generator of its own, seeded with the split and i: the state of a
run's data is an index, and it resumes to the bit.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax import data
from posjax.batch import Batch, Example, padded
from posjax.tasks.core.task import Data, Task, Test

COUNT = 2**31 - 1  # examples to train on
SPLITS = ('train', 'validation', 'test')
VERSION = 1  # of what is drawn: raise it with every change of a generator


@dataclasses.dataclass(frozen=True)
class Generated:
  """Documents of one example each, made when they are indexed by make(rng)."""

  make: Callable[[np.random.Generator], Example]
  split: str
  size: int = COUNT

  def __len__(self) -> int:
    return self.size

  def __getitem__(self, index: int) -> tuple[Example]:
    return (self.make(np.random.default_rng((SPLITS.index(self.split), index))),)

  def rows(self, length: int) -> Batch:
    """Returns all of them, one in a row of `length` tokens."""
    return padded([self[i][0] for i in range(self.size)], length, length)


@dataclasses.dataclass(frozen=True)
class Strings(Task):
  """A question and its answer, [BOS, question, SEP, answer, EOS], of which the answer is learned.

  Override `make`, and `chance`. Training draws sizes evenly up to the largest that fits a row; a
  test has that of its length alone. Answers are compared with the likeliest token after the true
  ones: if all are equal, greedy decoding yields exactly the answer, and only then.
  """

  rows: int = 256  # that a test has at each length
  vocabulary = data.ALL
  best = 'nats/token'
  shown = ('exact match', 'token accuracy')
  evaluation = ('rows',)

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns question and answer, tokens, of a problem of `size`."""
    raise NotImplementedError

  def room(self, size: int) -> int:
    """Returns the tokens that the longest problem of `size` takes: 2 `size` and BOS, SEP."""
    return 2 * size + 2

  def chance(self) -> float:
    """Returns the token accuracy of a guess."""
    raise NotImplementedError

  def check(self, length: int) -> None:
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')
    if self.room(1) > length:
      raise ValueError(f'train.length = {length}: must be at least {self.room(1)}')

  def largest(self, length: int) -> int:
    """Returns the largest size of which every problem fits `length` tokens."""
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
      validation=Generated(train, 'validation', 1024).rows(length),
      tests={name_of(self): Test(
        f'{self.rows:,} problems of size {sizes}: the answer and its end',
        {n: Generated(test(size), 'test', self.rows).rows(n) for n, size in largest.items()},
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


def name_of(task: Task) -> str:
  return type(task).__module__.rpartition('.')[2]


def identity(task: Task) -> dict[str, str]:
  """Returns name and hash of a made task: those of its arguments."""
  arguments = {
    field.name: getattr(task, field.name) for field in dataclasses.fields(task)
    if field.name not in task.evaluation
  }
  text = json.dumps([name_of(task), VERSION, arguments])
  words = ', '.join(f'{key}={value}' for key, value in arguments.items())
  return dict(
    name=f'{name_of(task)}({words}), made', sha256=hashlib.sha256(text.encode()).hexdigest(),
    split='train',
  )
