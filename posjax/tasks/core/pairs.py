"""Tasks of a source and a target, such as a sentence and its translation.

An encoder reads the source and a decoder the target; or a decoder reads both. Only target tokens
and EOS have a loss. Each is predicted from the true tokens before it: all of the likeliest tokens
are right if and only if greedy decoding yields the exact target.
"""

import dataclasses
import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from posjax import data
from posjax.batch import Batch, Example, padded
from posjax.data.corpus import Documents, Record
from posjax.data.tokenizer import Tokenizer
from posjax.errors import UserError
from posjax.tasks.core import labelled
from posjax.tasks.core.generated import name_of
from posjax.tasks.core.task import Data, Task, Test


class Request(NamedTuple):
  """What to generate for a test example, and the expected text.

  prompt     [T] tokens to continue, until EOS
  source     [S] inputs of the encoder; None: the model has none
  pos        [T, 1] positions of the prompt, which generated tokens count on; None: 0, 1, …
  text       the source, or the prompt of a decoder, as text
  reference  the expected text
  """

  prompt: np.ndarray
  source: np.ndarray | None
  pos: np.ndarray | None
  text: str
  reference: str


def lay_out(form: str, tokenizer: Tokenizer, source: np.ndarray, target: np.ndarray) -> Example:
  """Returns the example of a source and a target, both token ids without special tokens.

  With form 'encoder_decoder', the encoder reads [source, EOS] and the decoder [BOS, target, EOS];
  with 'decoder', a decoder reads [BOS, source, SEP, target, EOS]. With 'encoder', an encoder reads
  [source, MASK, …] and predicts the target in the places of the MASKs.
  """
  if form == 'encoder':
    slots = np.full(len(target), tokenizer.mask)
    x, targets = (np.concatenate([source, own]).astype(np.int32) for own in (slots, target))
    return Example(x, targets, np.arange(len(x)) >= len(source))
  if form == 'encoder_decoder':
    start, read = [tokenizer.bos], np.append(source, tokenizer.eos).astype(np.int32)
  else:
    start, read = [tokenizer.bos, *source, tokenizer.sep], None
  row = np.concatenate([start, target, [tokenizer.eos]]).astype(np.int32)
  learned = np.arange(1, len(row)) >= len(start)
  return Example(row[:-1], row[1:], learned, source=read)


@dataclasses.dataclass(frozen=True)
class Pairs(Task):
  """A source and a target, of any origin."""

  forms: ClassVar[tuple[str, ...]] = ('encoder_decoder', 'decoder')
  best = 'nats/token'
  shown: ClassVar[tuple[str, ...]] = ('exact match', 'token accuracy')

  @property
  def never(self) -> tuple[int, ...]:  # type: ignore[override]
    """All tokens that are neither text nor EOS."""
    own = self.tokenizer
    return (*own.never, own.bos, own.sep, own.mask, own.pad)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    right_BT = jnp.argmax(outputs, axis=-1) == batch.targets
    asked_B = jnp.any(batch.weights, axis=-1)
    return {
      'exact match': (jnp.all(right_BT | ~batch.weights, axis=-1), asked_B),
      'token accuracy': (right_BT, batch.weights),
      'nats/token': (self.loss(outputs, batch), batch.weights),
    }

  def prompt(self, text: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns what a model reads to generate the target of a source: tokens, encoder inputs."""
    example = lay_out(self.form, self.tokenizer, self.tokenizer.encode(text), np.array([]))
    return example.x, example.source

  @property
  def end(self) -> int:  # type: ignore[override]
    return self.tokenizer.eos

  def hint(self, data: Data, limit: float, tokens: int) -> str:
    if self.form == 'encoder':
      return ''
    [request] = self.requests(data, 1)
    return f'--mode=generate --prompt={shlex.quote(request.text)}'

  def decode(self, tokens: np.ndarray) -> bytes:
    return self.tokenizer.decode(tokens)

  def answer(self, tokens: np.ndarray) -> str:
    """Returns the text of generated tokens before EOS."""
    end = np.append(np.flatnonzero(tokens == self.tokenizer.eos), len(tokens))[0]
    return self.tokenizer.decode(tokens[:end]).decode(errors='replace')

  def requests(self, opened: Data, count: int) -> list[Request]:
    """Returns what to generate for the first `count` test examples at the training length."""
    rows = opened.tests[name_of(self)].rows
    batch = rows[min(rows)]
    return [
      self._request(jax.tree.map(lambda x, i=i: x[i], batch))
      for i in range(min(count, len(batch.weights)))
    ]

  def _request(self, row: Batch) -> Request:
    """Returns the request for the last target in a row."""
    start = np.flatnonzero(np.diff(row.weights.astype(int), prepend=0) == 1)[-1]
    prompt, pos, source = row.stream.x[: start + 1], row.stream.pos, row.source
    encoded = None if source is None else source.x[source.segment_ids == 0]
    text = self.tokenizer.decode(prompt if encoded is None else encoded)
    return Request(
      prompt, encoded, None if pos is None else pos[: start + 1], text.decode(errors='replace'),
      self.answer(row.targets[start:]),
    )


@dataclasses.dataclass(frozen=True)
class TextPairs(Pairs):
  """Pairs of texts, read from records. Examples that do not fit into a row are left out."""

  rows: int = 512  # most examples of a test at each length, and of validation
  shown = ('nats/token', 'token accuracy')
  evaluation: ClassVar[tuple[str, ...]] = ('rows',)
  roles: ClassVar[Mapping[str, type]] = dict(source=str, target=str)  # the fields of a record
  noun: ClassVar[str] = 'pairs'

  def check(self, length: int) -> None:
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')

  def example(self, record: Record, length: int) -> Example | None:
    """Returns the example of a record; None if it does not fit into a row of `length` tokens."""
    source, target = map(self.ids, record)
    example = lay_out(self.form, self.tokenizer, source, target)
    longest = max(len(example.x), 0 if example.source is None else len(example.source))
    return example if longest <= length else None

  def ids(self, text: Any) -> np.ndarray:
    """Returns the tokens of a text, without special tokens."""
    return self.tokenizer.encode(labelled.utf8(text))

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    records = labelled.load(corpus, **self.roles)
    validation = self.held_out(records, 'validation', length)
    rows = {n: self.held_out(records, 'test', n) for n in lengths}
    of = len(records.records('test'))
    fit = ', '.join(f'{len(examples):,} at {n:,}' for n, examples in rows.items())
    return Data(
      name=str(records), sha256=records.sha256, split=records.splits[0],
      train=self.documents(records, length), validation=padded(validation, length, length),
      tests={name_of(self): Test(
        f'{min(of, self.rows):,} of {of:,} test {self.noun}, without those that do not fit into a '
        f'row: {fit} tokens',
        {n: padded(examples, n, n) for n, examples in rows.items()},
      )},
    )

  def held_out(self, records: data.Records, split: str, length: int) -> list[Example]:
    """Returns the examples of at most `rows` records of a split that fit into `length` tokens."""
    chosen = labelled.spaced(records.records(split), self.rows)
    if examples := [made for record in chosen if (made := self.example(record, length))]:
      return examples
    raise self._none_fits(records, split, length)

  def documents(self, records: data.Records, length: int) -> Documents:
    """Returns a document for each training record: its example, or nothing if it does not fit.

    They are created when indexed. Records before the first that fits are left out.
    """
    train = records.records('train')
    read = lambda index: [made] if (made := self.example(train[index], length)) else []
    for first in range(len(train)):
      if read(first):
        return Documents(range(first, len(train)), read)
    raise self._none_fits(records, 'train', length)

  def _none_fits(self, records: data.Records, split: str, length: int) -> UserError:
    return UserError(
      f'{records.name}: none of the {split} {self.noun} fits into a row of {length} tokens; '
      'raise train.length'
    )


@dataclasses.dataclass(frozen=True)
class ScoredPairs(TextPairs):
  """Pairs for which texts are generated, and scored by a library."""

  texts: int = 64  # test examples for which a text is generated and scored; 0: none
  evaluation: ClassVar[tuple[str, ...]] = ('rows', 'texts')
  library: ClassVar[str]  # the module that `score` needs

  @property
  def scored_texts(self) -> int:
    return self.texts

  def check(self, length: int) -> None:
    super().check(length)
    if self.texts < 0:
      raise ValueError(f'texts = {self.texts}: must not be negative')
    if self.texts and not importlib.util.find_spec(self.library):
      raise ValueError(
        f"texts = {self.texts}: scoring them needs {self.library}; run: pip install -e '.[tasks]'; "
        'or set it to 0'
      )
