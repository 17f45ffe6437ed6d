"""The seam between a run and its task: what the model reads, what is learned, how it is scored.

A task is one file with one dataclass, whose fields are the config's section task.NAME. Nothing else
in posjax asks which task it is: the run trains on the examples of `Data`, minimises `loss`, and
writes down what `metrics` says of each test at each length.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from posjax.batch import Batch, Example, Indexed, Stream
from posjax.errors import UserError


class Test(NamedTuple):
  """What is scored under one name.

  Attributes:
    title: one line that says what and how.
    rows: a batch of all rows for each length.
    floors: for each length, by metric, what a guess reaches that has not learned the task.
  """

  title: str
  rows: Mapping[int, Batch]
  floors: Mapping[int, Mapping[str, float]] = {}


@dataclasses.dataclass(frozen=True)
class Data:
  """The examples of a task, opened: what is scored lies in memory, what is trained on is read.

  Attributes:
    name: one line about them, for reports.
    sha256: of all that decides them: runs with the same hash compare.
    train: documents, each a sequence of examples, which are made when they are indexed.
    validation: rows at the training length: their mean loss picks the best checkpoint.
    tests: by name.
    split: what of the data is trained on.
    scored: one line on what the tests hold; ''.
    prompt: a beginning to generate from; '' if there is none.
  """

  name: str
  sha256: str
  train: Indexed[Indexed[Example]]
  validation: Batch
  tests: Mapping[str, Test]
  split: str = ''
  scored: str = ''
  prompt: str = ''


@dataclasses.dataclass(frozen=True)
class Task:
  """What a model is trained to do. Fields are arguments: numbers, strings, tuples."""

  forms: ClassVar[tuple[str, ...]] = ('decoder',)  # of a model that it can have, the default first
  vocabulary: ClassVar[int]  # how many numbers tokens have
  axes: ClassVar[int] = 1  # of a position
  counts: ClassVar[bool] = True  # whether positions count the tokens of a segment
  unit: ClassVar[str] = 'token'  # what a row is measured in
  best: ClassVar[str] = 'loss'  # the metric that picks the best checkpoint: its lowest
  shown: ClassVar[tuple[str, ...]] = ()  # metrics for figures and for tables of several runs
  evaluation: ClassVar[tuple[str, ...]] = ()  # arguments that change tests alone, no weight
  never: ClassVar[tuple[int, ...]] = ()  # tokens that generation never samples

  @property
  def outputs(self) -> int:
    """The numbers that the model gives for each token."""
    return self.vocabulary

  def extent(self, length: int) -> tuple[int, ...]:
    """Returns how many positions, on each axis, a row of `length` tokens may take."""
    return (length,) * self.axes

  def answers(self, length: int) -> int:
    """How many targets a row of `length` tokens has room for."""
    return length

  def row(self, length: int) -> Batch:
    """Returns shapes and dtypes of a training batch of one row of `length` tokens."""
    shape = jax.ShapeDtypeStruct
    pos, tokens = shape((1, length, self.axes), jnp.int32), shape((1, length), jnp.int32)
    answers = (1, self.answers(length))
    return Batch(Stream(tokens, pos, tokens), shape(answers, jnp.int32), shape(answers, jnp.bool_))

  def check(self, length: int) -> None:
    """Raises ValueError, one line, if an argument is invalid, or does not fit rows of `length`."""

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    """Returns the examples.

    Args:
      corpus: the config's section `data`, for tasks that read one.
      length: tokens of a row in training.
      lengths: those of the tests.

    Raises:
      UserError: they cannot be had, or there are too few.
    """
    raise NotImplementedError

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Returns the nats of each target, [B, U], for outputs [B, T, outputs]."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Returns {name: (values, weights)}; each is reported as its weighted mean."""
    return {'loss': (self.loss(outputs, batch), batch.weights)}

  def summary(self, means: dict[str, float]) -> dict[str, float]:
    """Returns what is reported of the means of `metrics`."""
    return means

  # For tasks with text, which can be generated.

  def hint(self, data: Data, limit: float, tokens: int) -> str:
    """Returns flags of a command that shows what was learned; '' if there is none.

    Args:
      data: the examples.
      limit: how many positions the model has.
      tokens: how many are generated unless the flags say otherwise.
    """
    return ''

  def encode(self, text: bytes) -> np.ndarray:
    """Returns the tokens of a prompt. Raises UserError if the task has no text."""
    raise UserError('--mode=generate: this task has no text to continue; task.name=text has')

  def decode(self, tokens: np.ndarray) -> bytes:
    """Returns the text of tokens that were generated."""
    raise NotImplementedError


def pool(x_BTD: jax.Array, segment_ids_BT: jax.Array, segments: int) -> jax.Array:
  """Returns the mean over the tokens of each segment, [B, U, D]; 0 for segments without a token.

  Args:
    x_BTD: outputs of a model. The mean of outputs is the output of the mean: heads are linear.
    segment_ids_BT: 0 to U - 1, or -1 for padding.
    segments: U.
  """
  member_BUT = segment_ids_BT[:, None] == jnp.arange(segments)[None, :, None]
  count_BU1 = jnp.sum(member_BUT, axis=-1, keepdims=True)
  total_BUD = jnp.einsum('BUT,BTD->BUD', member_BUT.astype(x_BTD.dtype), x_BTD)
  return total_BUD / jnp.maximum(count_BU1, 1)
