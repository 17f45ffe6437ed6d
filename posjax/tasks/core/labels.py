"""Tasks with labels at some tokens of a generated row, such as a class for each token.

A row of `length` tokens is one example. Only labelled tokens have a loss and are scored.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.generated import Generated, identity, name_of
from posjax.tasks.core.task import Data, Task, Test


class Variant(NamedTuple):
  """The rows of a test: a line that describes them, and a function make(rng, length=…)."""

  title: str
  make: Callable[..., Example]


@dataclasses.dataclass(frozen=True)
class Labels(Task):
  """A row of tokens with labels. Override `make`; also `variants` and `guess` if needed."""

  rows: int = 256  # rows of a test at each length
  best = 'nats/label'
  shown: ClassVar[tuple[str, ...]] = ('token accuracy', 'exact match')
  evaluation: ClassVar[tuple[str, ...]] = ('rows',)

  @property
  def shortest(self) -> int:
    """The number of tokens of the shortest row."""
    return 2

  def make(self, rng: np.random.Generator, length: int) -> Example:
    """Returns a row to train on, of at most `length` tokens."""
    raise NotImplementedError

  def variants(self) -> Mapping[str, Variant]:
    """Returns the tests by name, by default one of rows like those of training."""
    return {name_of(self): Variant('as trained', self.make)}

  def guess(self, rows: Batch) -> np.ndarray:
    """Returns the probability [B, U] with which a guess is right at each target of test rows.

    The guess does not learn the task. By default, it is the most frequent label of these rows.
    """
    labels, counts = np.unique(rows.targets[rows.weights], return_counts=True)
    return rows.targets == labels[np.argmax(counts)]

  def check(self, length: int) -> None:
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')
    if length < self.shortest:
      raise ValueError(f'train.length = {length}: must be at least {self.shortest}')
    if self.tokenizer.name != 'bytes':
      raise ValueError(
        f'data.tokenizer = {self.tokenizer.name}: {name_of(self)} has no text; leave it at bytes'
      )

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    make = lambda rng: self.make(rng, length)
    return Data(
      **identity(self), train=Generated(make, 'train'),
      validation=Generated(make, 'validation', 1024).rows(length, length),
      tests={name: self._test(name, variant, lengths) for name, variant in self.variants().items()},
    )

  def _test(self, name: str, variant: Variant, lengths: Sequence[int]) -> Test:
    made = lambda n: Generated(functools.partial(variant.make, length=n), 'test', self.rows)
    rows = {n: made(n).rows(n, n) for n in lengths}
    title = f'{name}: {self.rows:,} rows, {variant.title}'
    return Test(title, rows, {n: self.floors(own) for n, own in rows.items()})

  def floors(self, rows: Batch) -> dict[str, float]:
    """Returns the mean of each metric of `scores` for `guess`; no metric without a weight."""
    scores = jax.jit(self.scores)(np.float32(self.guess(rows)), rows)
    pairs = {name: tuple(map(np.asarray, pair)) for name, pair in scores.items()}
    return {
      name: float(np.sum(values * weights) / np.sum(weights))
      for name, (values, weights) in pairs.items() if np.any(weights)
    }

  def scores(self, right_BU: jax.Array, rows: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Returns {name: (values, weights)}.

    Args:
      right_BU: whether the output for each target is right, or the probability of it, if the
        outputs for different targets are independent.
      rows: the rows.
    """
    weights_BU = jnp.asarray(rows.weights)
    asked_B = jnp.any(weights_BU, axis=-1)
    last_B1 = weights_BU.shape[1] - 1 - jnp.argmax(weights_BU[:, ::-1], axis=-1, keepdims=True)
    return {
      'token accuracy': (right_BU, weights_BU),
      'exact match': (jnp.prod(jnp.where(weights_BU, right_BU, 1.0), axis=-1), asked_B),
      'last accuracy': (jnp.take_along_axis(right_BU, last_B1, axis=-1)[:, 0], asked_B),
    }

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    right_BU = jnp.argmax(outputs, axis=-1) == batch.targets
    return self.scores(right_BU, batch) | {self.best: (self.loss(outputs, batch), batch.weights)}


def most_frequent(
  x_BT: np.ndarray, targets_BT: np.ndarray, first: int, stop: int
) -> np.ndarray:
  """Returns the probability [B, T] that a guess blind to order is right at each target.

  The guess is the token of `first` to `stop` - 1 that is the most frequent one up to the target's
  place, a random one of them if there are several.
  """
  symbols = np.arange(first, stop)
  right_BT = np.zeros(targets_BT.shape)
  for right_T, x_T, targets_T in zip(right_BT, x_BT, targets_BT, strict=True):
    counts_TV = np.cumsum(x_T[:, None] == symbols, axis=0)
    likely_TV = counts_TV == counts_TV.max(axis=1, keepdims=True)
    right_T[:] = np.sum(likely_TV & (targets_T[:, None] == symbols), axis=1) / likely_TV.sum(axis=1)
  return right_BT
