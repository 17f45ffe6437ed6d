"""Span answers: the model points at the answer to a question within a context.

Rajpurkar et al. 2016, "SQuAD: 100,000+ questions for machine comprehension of text", arXiv
1606.05250; two outputs for each token, its scores as the first and as the last token of the answer:
Devlin et al. 2018, arXiv 1810.04805, section 4.2. A row is [BOS, question, SEP, context], cut at
the end of the row; questions whose answer is cut off are left out.

With task.span.source=generated, the context is a list of words of random small letters, each after
another one of eight capital letters; the question is a capital letter, and the answer is the word
after it. Without positions, a model cannot tell which word that is. With 'records', `data.fields`
names the fields of context, question, answer and start, the index of the answer's first character
in the context; of several answers, the first is taken, and questions without an answer are left
out.

An answer is exact if its first and its last token are right. F1 is that of tokens: of the predicted
answer's tokens, those within the true answer are right. (SQuAD's F1 counts equal words wherever
they stand.) The prediction is the best pair whose last token is not before its first.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch, Example, padded
from posjax.data.corpus import SPLITS, Record
from posjax.errors import UserError, one_of
from posjax.tasks.core import generated, labelled
from posjax.tasks.core.task import Data, Task, Test

SHORT = 16  # tokens of an example; a row is packed with at most as many as have this size
MARKERS = [*b'ABCDEFGH']
SOURCES = 'generated', 'records'
NEVER = -1e9  # the score of a token of another example
EITHER = str, tuple  # one answer, or several


@dataclasses.dataclass(frozen=True)
class Span(Task):
  source: str = 'generated'  # of the examples, or 'records': those of the config's section `data`
  rows: int = 512  # questions to test and to validate; of records, evenly spaced over their splits
  outputs = 2
  forms = ('encoder', 'decoder')
  best = 'nats/end'
  shown = ('exact match', 'F1')
  evaluation = ('rows',)

  def check(self, length: int) -> None:
    if self.source not in SOURCES:
      raise ValueError(f'source = {self.source}: {one_of(self.source, SOURCES)}')
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be at least 1')
    if self.tokenizer.lengths is None:
      raise ValueError(
        f'data.tokenizer = {self.tokenizer.name}: its ids do not stand for bytes, which locate '
        'an answer'
      )
    least = 3 + 2 * len(MARKERS) if self.source == 'generated' else 1
    if length < least:
      raise ValueError(f'train.length = {length}: must be at least {least}')

  def answers(self, length: int) -> int:
    return 2 * max(1, length // SHORT)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    if self.source == 'records':
      return self.of_records(corpus, length, lengths)
    longest = lambda n: (n - 3) // len(MARKERS) - 1  # [BOS, A, SEP, words]
    make = lambda n: lambda rng: self.make(rng, longest(n))
    sizes = ', '.join(str(longest(n)) for n in lengths)
    examples = lambda split, n: generated.Generated(make(n), split, self.rows).rows(n, 2)
    return Data(
      **generated.identity(self), train=generated.Generated(make(length), 'train'),
      validation=examples('validation', length),
      tests={'words': Test(
        f'{self.rows:,} lists of {len(MARKERS)} words of up to {sizes} letters',
        {n: examples('test', n) for n in lengths},
        {n: dict.fromkeys(self.shown, 1 / len(MARKERS)) for n in lengths},
      )},
    )

  def make(self, rng: np.random.Generator, longest: int) -> Example:
    """Returns a question about words of 1 to `longest` letters."""
    letters = ord('a') + rng.integers(26, size=(len(MARKERS), longest))
    sizes = rng.integers(1, longest + 1, size=len(MARKERS))
    words = [bytes(own[:size].tolist()) for own, size in zip(letters, sizes, strict=True)]
    marked = [bytes([m]) + word for m, word in zip(rng.permutation(MARKERS), words, strict=True)]
    asked = int(rng.integers(len(marked)))
    start, end = (len(b''.join(marked[:count])) for count in (asked, asked + 1))
    return self.example(marked[asked][:1], b''.join(marked), start + 1, end)

  def of_records(
    self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]
  ) -> Data:
    """Returns the examples of records whose answers fit into rows of all lengths."""
    records = labelled.load(corpus, context=str, question=str, answer=EITHER, start=EITHER)
    least = min(length, *lengths)
    kept = {
      split: [record for record in records.records(split) if self.of_record(record, least)]
      for split in SPLITS
    }
    for split, own in kept.items():
      if not own:
        raise UserError(
          f'{records.name}: no answer of the {split} split lies within {least:,} tokens; raise '
          'train.length'
        )
    example: Callable[[Record, int], Any] = self.of_record
    held_out = lambda split, n: padded(
      [example(record, n) for record in labelled.spaced(kept[split], self.rows)], n, 2
    )
    title = (
      f'{min(self.rows, len(kept["test"])):,} questions, of {len(kept["test"]):,} whose answer '
      f'lies within {least:,} tokens, of {len(records.records("test")):,}'
    )
    return Data(
      **labelled.identity(self, records),
      train=labelled.training(kept['train'], lambda record: example(record, length)),
      validation=held_out('validation', length),
      tests={'questions': Test(title, {n: held_out('test', n) for n in lengths})},
    )

  def of_record(self, record: Any, length: int) -> Example | None:
    """Returns a question, cut to `length` tokens; None if the answer is missing or cut off.

    Raises:
      UserError: the answer is not at its start.
    """
    context, question, *found = record
    answer, start = (value if isinstance(value, str) else ''.join(value[:1]) for value in found)
    if not answer:
      return None
    if not (start.isdecimal() and context.startswith(answer, int(start))):
      raise UserError(
        f'data.fields: the answer {answer[:40]!r} does not start at character {start} of its '
        f'context, {context[:40]!r}'
      )
    begin = len(labelled.utf8(context[: int(start)]))
    end = begin + len(labelled.utf8(answer))
    whole = self.example(labelled.utf8(question), labelled.utf8(context), begin, end)
    return whole._replace(x=whole.x[:length]) if whole.targets[1] < length else None

  def example(self, question: bytes, context: bytes, begin: int, end: int) -> Example:
    """Returns a question whose answer is bytes `begin` to `end` of the context, without `end`."""
    asked, ids = self.tokenizer.encode(question), self.tokenizer.encode(context)
    x = np.concatenate([[self.tokenizer.bos], asked, [self.tokenizer.sep], ids]).astype(np.int32)
    lengths: Any = self.tokenizer.lengths  # see check
    ends = np.cumsum(lengths[ids])  # of each token, in bytes of the context
    answer = np.searchsorted(ends, [begin, end - 1], side='right')  # the tokens of these bytes
    return Example(x, (len(asked) + 2 + answer).astype(np.int32), np.ones(2, bool))

  def scores(self, outputs: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Returns log-probabilities and true tokens of an example's two ends.

    [B, E, 2, T], over the tokens of the example, and [B, E, 2], for at most E examples in a row.
    """
    B, U = batch.targets.shape
    segment_ids_BT: Any = batch.stream.segment_ids
    own_BET = segment_ids_BT[:, None] == jnp.arange(U // 2)[:, None]
    each_BE2T = jnp.where(own_BET[:, :, None], jnp.moveaxis(outputs, -1, 1)[:, None], NEVER)
    first_BE1 = jnp.argmax(own_BET, axis=-1)[..., None]
    return jax.nn.log_softmax(each_BE2T), first_BE1 + batch.targets.reshape(B, U // 2, 2)

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    scores_BE2T, true_BE2 = self.scores(outputs, batch)
    found_BE2 = jnp.take_along_axis(scores_BE2T, true_BE2[..., None], axis=-1)
    return -found_BE2.reshape(batch.targets.shape)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    scores_BE2T, true_BE2 = self.scores(outputs, batch)
    first_BE, last_BE = best(scores_BE2T[:, :, 0], scores_BE2T[:, :, 1])
    true_first_BE, true_last_BE = true_BE2[..., 0], true_BE2[..., 1]
    shared_BE = jnp.minimum(last_BE, true_last_BE) - jnp.maximum(first_BE, true_first_BE) + 1
    sizes_BE = last_BE - first_BE + 1 + true_last_BE - true_first_BE + 1
    weights_BE = batch.weights[:, ::2]
    return {
      'exact match': ((first_BE == true_first_BE) & (last_BE == true_last_BE), weights_BE),
      'F1': (2 * jnp.maximum(shared_BE, 0) / sizes_BE, weights_BE),
      'nats/end': (self.loss(outputs, batch), batch.weights),
    }


def best(first_BET: jax.Array, last_BET: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the first and the last token with the largest sum of scores, first <= last, [B, E]."""
  so_far_BET = jax.lax.cummax(first_BET, axis=2)  # the best first token up to each last one
  last_BE = jnp.argmax(so_far_BET + last_BET, axis=-1)
  allowed_BET = jnp.arange(first_BET.shape[-1]) <= last_BE[..., None]
  return jnp.argmax(jnp.where(allowed_BET, first_BET, -jnp.inf), axis=-1), last_BE
