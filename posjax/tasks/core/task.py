"""The interface between a run and its task: inputs of the model, targets, loss and metrics.

A task is one file with one dataclass, whose fields are the config's section task.NAME. No other
part of posjax depends on a specific task: the run trains on the examples of `Data`, minimizes
`loss`, and records `metrics` for each test at each length.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from posjax.batch import Batch, Example, Indexed, Stream
from posjax.data.pipeline import Drawn
from posjax.data.tokenizer import BYTES, Tokenizer
from posjax.errors import UserError

SET = {'argument': False}  # metadata of a field of `Task` that the run sets


class Test(NamedTuple):
  """A named set of rows to score.

  Attributes:
    title: one line that describes the rows and how they are scored.
    rows: a batch of all rows for each length.
    floors: for each length, by metric, the value that a guess reaches without learning the task.
  """

  title: str
  rows: Mapping[int, Batch]
  floors: Mapping[int, Mapping[str, float]] = {}


@dataclasses.dataclass(frozen=True)
class Data:
  """The examples of a task: held-out rows are in memory, training examples are read on demand.

  Attributes:
    name: one line that describes the examples, for reports.
    sha256: hash of all settings that determine the examples; equal hashes can be compared.
    train: documents, each a sequence of examples, which are created when indexed; or documents
      whose examples are drawn at random in each epoch.
    validation: rows at the training length; their mean loss selects the best checkpoint.
    tests: the tests by name.
    split: the part of the data to train on.
    scored: one line on the documents that the tests cover; or ''.
    prompt: a text to continue in generation; '' if the task has none.
  """

  name: str
  sha256: str
  train: Indexed[Indexed[Example]] | Drawn
  validation: Batch
  tests: Mapping[str, Test]
  split: str = ''
  scored: str = ''
  prompt: str = ''


@dataclasses.dataclass(frozen=True)
class Task:
  """A task to train a model on. Fields are arguments: numbers, strings, tuples.

  Two fields are not arguments: `form`, the form of the model, and `tokenizer`, of its text.
  """

  form: str = dataclasses.field(default='', kw_only=True, metadata=SET)
  tokenizer: Tokenizer = dataclasses.field(default=BYTES, kw_only=True, metadata=SET)
  forms: ClassVar[tuple[str, ...]] = ('decoder',)  # supported forms of a model, the default first
  axes: ClassVar[int] = 1  # axes of a position
  vectors: ClassVar[int] = 0  # width of the vectors that the model, or its encoder, reads; 0: ids
  counts: ClassVar[bool] = True  # whether positions count the tokens of a segment
  unit: ClassVar[str] = 'token'  # the unit of row lengths
  best: ClassVar[str] = 'loss'  # the metric whose minimum selects the best checkpoint
  shown: ClassVar[tuple[str, ...]] = ()  # metrics for figures and for tables of several runs
  evaluation: ClassVar[tuple[str, ...]] = ()  # arguments that affect only tests, no weight
  may_differ: ClassVar[tuple[str, ...]] = ()  # arguments that differ between arms of one table
  never: ClassVar[tuple[int, ...]] = ()  # tokens that generation never samples
  end: ClassVar[int | None] = None  # the token that ends a generated text; None: no token does

  @property
  def vocabulary(self) -> int:
    """The number of token ids, by default the tokenizer's with all special tokens."""
    return self.tokenizer.all

  @property
  def outputs(self) -> int:
    """The number of outputs of the model for each token."""
    return self.vocabulary

  @property
  def scored_texts(self) -> int:
    """The number of test examples for which a text is generated and scored."""
    return 0

  @property
  def pos_dtype(self) -> str:
    """The dtype of positions: 'int32', or 'float32' for fractions."""
    return 'int32'

  def extent(self, length: int) -> tuple[int, ...]:
    """Returns the most positions on each axis that a row of `length` tokens may take."""
    return (length,) * self.axes

  def answers(self, length: int) -> int:
    """Returns the most targets of a row of `length` tokens."""
    return length

  def row(self, length: int) -> Batch:
    """Returns shapes and dtypes of a training batch with one row of `length` tokens."""
    shape = jax.ShapeDtypeStruct
    pos, tokens = shape((1, length, self.axes), self.pos_dtype), shape((1, length), jnp.int32)
    vectors = shape((1, length, self.vectors), jnp.float32)
    first = Stream(vectors if self.vectors else tokens, pos, tokens)
    answers = (1, self.answers(length))
    targets, weights = shape(answers, jnp.int32), shape(answers, jnp.bool_)
    if self.form == 'encoder_decoder':
      return Batch(Stream(tokens, pos, tokens), targets, weights, first)
    return Batch(first, targets, weights)

  @classmethod
  def arguments(cls) -> dict[str, Any]:
    """Returns the arguments with their defaults."""
    fields = dataclasses.fields(cls)
    return {field.name: field.default for field in fields if 'argument' not in field.metadata}

  def check(self, length: int) -> None:
    """Raises ValueError, one line, if an argument is invalid or does not fit rows of `length`."""

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    """Returns the examples.

    Args:
      corpus: the config's section `data`, for tasks that read a corpus.
      length: tokens of a row in training.
      lengths: tokens of a row in each test.

    Raises:
      UserError: the examples are not available, or too few.
    """
    raise NotImplementedError

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Returns the loss of each target in nats, [B, U], for outputs [B, T, outputs]."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Returns {name: (values, weights)}; the weighted mean of each is reported."""
    return {'loss': (self.loss(outputs, batch), batch.weights)}

  def summary(self, means: dict[str, float]) -> dict[str, float]:
    """Returns the values to report, from the means of `metrics`."""
    return means

  # For tasks that can generate text.

  def hint(self, data: Data, limit: float, tokens: int) -> str:
    """Returns flags of a command that demonstrates the trained model; '' if none exists.

    Args:
      data: the examples.
      limit: the number of positions that the model supports.
      tokens: the default number of tokens to generate.
    """
    return ''

  def prompt(self, text: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the tokens to continue for a text, and inputs of the encoder if the model has one.

    Raises:
      UserError: the task has no text.
    """
    raise UserError('--mode=generate: this task has no text to continue; task.name=text has')

  def prompt_positions(self, tokens: np.ndarray) -> np.ndarray | None:
    """Returns the positions [T, axes] of the tokens of a prompt; None: 0, 1, ….

    Raises:
      UserError: a part of the prompt has no positions, such as an image without an end.
    """
    return None

  def position_after(self, pos_TP: np.ndarray) -> np.ndarray:
    """Returns the position [axes] of the token after a prompt, by default the next on all axes."""
    return pos_TP[-1] + 1

  def decode(self, tokens: np.ndarray) -> bytes:
    """Returns the text of generated tokens."""
    raise NotImplementedError


  # For tasks that score generated texts.

  def requests(self, opened: Data, count: int) -> Sequence[Any]:
    """Returns what to generate for the first `count` test examples, see `core/pairs.py`."""
    raise NotImplementedError

  def answer(self, tokens: np.ndarray) -> str:
    """Returns the text of generated tokens."""
    raise NotImplementedError

  def score(
    self, outputs: Sequence[str], references: Sequence[str], sources: Sequence[str]
  ) -> dict[str, float]:
    """Returns the scores of generated texts, given expected texts and what they were made from."""
    raise NotImplementedError


def pool(x_BTD: jax.Array, segment_ids_BT: jax.Array, segments: int) -> jax.Array:
  """Returns the mean over the tokens of each segment, [B, U, D]; 0 for segments without a token.

  Args:
    x_BTD: outputs of a model. The head is linear: the mean of outputs is the output of the mean.
    segment_ids_BT: 0 to U - 1, or -1 for padding.
    segments: U.
  """
  member_BUT = segment_ids_BT[:, None] == jnp.arange(segments)[None, :, None]
  count_BU1 = jnp.sum(member_BUT, axis=-1, keepdims=True)
  total_BUD = jnp.einsum('BUT,BTD->BUD', member_BUT.astype(x_BTD.dtype), x_BTD)
  return total_BUD / jnp.maximum(count_BU1, 1)
