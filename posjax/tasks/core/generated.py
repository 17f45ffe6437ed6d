"""Examples that are generated, not read: random access, on any host.

A separate generator, seeded with the split and i, draws example i of a split. The state of a run's
data is thus an index, and resume is bit-exact.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from posjax.batch import Batch, Example, padded
from posjax.tasks.core.task import Task

COUNT = 2**31 - 1  # examples to train on
SPLITS = ('train', 'validation', 'test')
VERSION = 1  # version of generated examples: increment it with every change of a generator


@dataclasses.dataclass(frozen=True)
class Generated:
  """Documents of one example each; indexing generates the example with make(rng)."""

  make: Callable[[np.random.Generator], Example]
  split: str
  size: int = COUNT

  def __len__(self) -> int:
    return self.size

  def __getitem__(self, index: int) -> tuple[Example]:
    return (self.make(np.random.default_rng((SPLITS.index(self.split), index))),)

  def rows(self, length: int, answers: int) -> Batch:
    """Returns all examples, one per row of `length` tokens and `answers` targets."""
    return padded([self[i][0] for i in range(self.size)], length, answers)


@dataclasses.dataclass(frozen=True)
class Lazy(Mapping[int, Batch]):
  """The rows of a test at each length, made when they are read: long ones need much memory."""

  make: Callable[[int], Batch]
  lengths: tuple[int, ...]

  def __getitem__(self, length: int) -> Batch:
    if length not in self.lengths:
      raise KeyError(length)
    return self.make(length)

  def __iter__(self) -> Iterator[int]:
    return iter(self.lengths)

  def __len__(self) -> int:
    return len(self.lengths)


def name_of(task: Task) -> str:
  return type(task).__module__.rpartition('.')[2]


def identity(task: Task) -> dict[str, str]:
  """Returns name, hash and split of a generated task; its arguments determine name and hash.

  Arguments in which arms of one table may differ do not: they change no token and no target.
  """
  same = {*task.evaluation, *task.may_differ}
  arguments = {name: getattr(task, name) for name in task.arguments() if name not in same}
  text = json.dumps([name_of(task), VERSION, arguments])
  words = ', '.join(f'{key}={value}' for key, value in arguments.items())
  return dict(
    name=f'{name_of(task)}({words}), generated', sha256=hashlib.sha256(text.encode()).hexdigest(),
    split='train',
  )
