"""Tagging: one tag for each word, such as its part of speech, or BIO tags of names.

`data.fields` names the fields of words and tags. A word may have several tokens: in an encoder its
first token has the target, in a decoder the last one, which alone sees the whole word. A row is
[BOS, words], cut after the last word that fits, so that longer rows contain more of a sentence.

The tags are the sorted set of those in all splits: a rare tag may be missing in the training split.
For BIO tags, entity F1 counts the spans that are exactly right; see core/entities.py. A guess knows
no other word: it answers the most frequent tag of a word in training.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch, Example, padded
from posjax.data.corpus import SPLITS, Record, Records
from posjax.errors import UserError
from posjax.tasks.core import entities, labelled
from posjax.tasks.core.task import Data, Test


@dataclasses.dataclass(frozen=True)
class Tag(labelled.Labelled):
  classes: int = 7  # different tags; of BIO tags, O and two for each kind of span
  bio: bool = True  # tags are O, B-KIND and I-KIND
  spaces: bool = True  # a space separates two words; False: they are single Chinese characters
  best = 'nats/word'

  @property
  def shown(self) -> tuple[str, ...]:  # type: ignore[override]
    return ('entity F1', 'accuracy') if self.bio else ('accuracy',)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    records = labelled.load(corpus, tokens=tuple, tags=tuple)
    check_words(records)
    tags = self.tags(records)
    example = lambda record, n: self.example(record, tags, n)
    chosen = {s: labelled.spaced(records.records(s), self.rows) for s in ('validation', 'test')}
    held_out = lambda split, n: padded([example(record, n) for record in chosen[split]], n, n)
    rows = {n: held_out('test', n) for n in lengths}
    # The guess: the same rows, with the usual tag of each word in place of the true tag.
    usual = usual_tags(records)
    guessed = [(words, tuple(usual(word) for word in words)) for words, _ in chosen['test']]
    floors = {}
    for n, batch in rows.items():
      answers = padded([example(record, n) for record in guessed], n, n).targets
      floors[n] = labelled.guess(self, np.eye(self.classes, dtype=np.float32)[answers], batch)
    title = f'{len(chosen["test"]):,} sentences, cut to the row'
    return Data(
      **labelled.identity(self, records),
      train=labelled.training(records.records('train'), lambda record: example(record, length)),
      validation=held_out('validation', length), tests={'sentences': Test(title, rows, floors)},
    )

  def tags(self, records: Records) -> dict[str, int]:
    """Returns the number of each tag. Raises UserError if there are not `classes` of them."""
    found = sorted({tag for split in SPLITS for _, tags in records.records(split) for tag in tags})
    if self.bio:
      found = bio(found, records.name)
    if len(found) != self.classes:
      raise UserError(
        f'task.tag.classes = {self.classes}: {records.name} has {len(found)} tags; set '
        f'--config.task.tag.classes={len(found)}'
      )
    return {tag: index for index, tag in enumerate(found)}

  def example(self, record: Record, tags: Mapping[str, int], length: int) -> Example:
    ids, words = self.pieces(record[0])
    if len(ids) >= length:
      fit = words < words[length - 1]  # this id has no place after BOS, nor has its word
      ids, words = ids[fit], words[fit]
    x = np.concatenate([[self.tokenizer.bos], ids]).astype(np.int32)
    targets = np.array([0, *(tags[record[1][word]] for word in words)], np.int32)
    change = np.diff(words, prepend=-1, append=-1) != 0  # where a word begins, or has ended
    tagged = change[1:] if self.form == 'decoder' else change[:-1]
    return Example(x, targets, np.concatenate([[False], tagged]))

  def pieces(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the token ids of words [N], and the index of the word of each id [N]."""
    groups = [words] if self.spaces else [[word] for word in words]
    found = [self.tokenizer.pieces(group) for group in groups]
    ids, index = zip(*found, strict=True)
    return np.concatenate(ids), np.concatenate([own + i for i, own in enumerate(index)])

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    predicted_BT = jnp.argmax(outputs, axis=-1)
    values = {
      'accuracy': predicted_BT == batch.targets, 'nats/word': self.loss(outputs, batch),
    }
    if self.bio:
      segment_ids_BT: Any = batch.stream.segment_ids
      counts = entities.count(predicted_BT, batch.targets, batch.weights, segment_ids_BT)
      values |= zip(('hits', 'predicted', 'true'), counts, strict=True)
    return {name: (value, batch.weights) for name, value in values.items()}

  def summary(self, means: dict[str, float]) -> dict[str, float]:
    values = {key: means[key] for key in ('accuracy', 'nats/word')}
    if self.bio:
      values['entity F1'] = labelled.f1(means['hits'], means['predicted'], means['true'])
    return values


def bio(tags: Sequence[str], name: str) -> list[str]:
  """Returns O, then B and I of each kind, in the order of entities.py.

  Raises:
    UserError: a tag is not a BIO tag; `name` is the name of the records.
  """
  for tag in tags:
    if tag != 'O' and tag[:2] not in ('B-', 'I-'):
      raise UserError(
        f'{name}: the tag {tag} is not O, B-KIND or I-KIND; with --config.task.tag.bio=false, any '
        'tags can be learned'
      )
  kinds = sorted({tag[2:] for tag in tags if tag != 'O'})
  return ['O', *(f'{place}-{kind}' for kind in kinds for place in 'BI')]


def check_words(records: Records) -> None:
  """Raises UserError for a record that has no word, or not one tag for each word."""
  for split in SPLITS:
    for words, tags in records.records(split):
      if not 0 < len(words) == len(tags):
        raise UserError(
          f'{records.name}: a record of the {split} split has {len(words)} words and {len(tags)} '
          f'tags: {" ".join(words)[:40]}'
        )


def usual_tags(records: Records) -> Any:
  """Returns a function from a word to its most frequent tag in training; or that of all words."""
  counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
  for words, tags in records.records('train'):
    for word, tag in zip(words, tags, strict=True):
      counts[word][tag] += 1
  most = lambda counter: counter.most_common(1)[0][0]
  rest = most(sum(counts.values(), collections.Counter()))
  usual = {word: most(own) for word, own in counts.items()}
  return lambda word: usual.get(word, rest)
