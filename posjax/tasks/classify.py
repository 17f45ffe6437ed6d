"""Classification: one label for each text, from the mean of the outputs over its tokens.

`data.fields` names the fields of text and label. The labels are the sorted set of those in all
splits: a rare label may be missing in the training split. A row is [BOS, text], cut at the end of
the row, so that longer rows see more of a text.

Macro-F1 is the mean of the F1 of the classes that occur among the labels or among the predictions;
it is computed from the counts of each class. A guess answers the most frequent label of training.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch, Example, padded
from posjax.data.corpus import Record
from posjax.tasks.core import labelled
from posjax.tasks.core.task import Data, Test, pool

SHORT = 16  # tokens of a text; a row is packed with at most as many texts as have this size


@dataclasses.dataclass(frozen=True)
class Classify(labelled.Labelled):
  best = 'nats/text'
  shown = ('accuracy', 'macro F1')

  def answers(self, length: int) -> int:
    return max(1, length // SHORT)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    records = labelled.load(corpus, text=str, label=str)
    labels = labelled.numbers(self, records)
    example = lambda record, n: self.example(record, labels, n)

    def held_out(split: str, n: int) -> Batch:
      chosen = labelled.spaced(records.records(split), self.rows)
      return padded([example(record, n) for record in chosen], n, 1)

    rows = {n: held_out('test', n) for n in lengths}
    counts = collections.Counter(labels[label] for _, label in records.records('train'))
    most = np.eye(self.classes, dtype=np.float32)[counts.most_common(1)[0][0]]
    outputs = lambda batch: np.broadcast_to(most, (*batch.stream.x.shape, self.classes))
    floors = {n: labelled.guess(self, outputs(batch), batch) for n, batch in rows.items()}
    title = f'{len(rows[lengths[0]].targets):,} texts, cut to the row'
    return Data(
      **labelled.identity(self, records),
      train=labelled.training(records.records('train'), lambda record: example(record, length)),
      validation=held_out('validation', length), tests={'texts': Test(title, rows, floors)},
    )

  def example(self, record: Record, labels: Mapping[Any, int], length: int) -> Example:
    text, label = record
    tokens = self.tokenizer.encode(labelled.utf8(text))[: length - 1]
    x = np.concatenate([[self.tokenizer.bos], tokens]).astype(np.int32)
    return Example(x, np.array([labels[label]], np.int32), np.ones(1, bool))

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    return super().loss(self.pooled(outputs, batch), batch)

  def pooled(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Returns the logits of the classes for each text, [B, U, classes]."""
    segment_ids_BT: Any = batch.stream.segment_ids
    return pool(outputs, segment_ids_BT, batch.targets.shape[1])

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    predicted_BU, true_BU = jnp.argmax(self.pooled(outputs, batch), axis=-1), batch.targets
    values = {'accuracy': predicted_BU == true_BU, 'nats/text': self.loss(outputs, batch)}
    for c in range(self.classes):
      predicted, true = predicted_BU == c, true_BU == c
      values |= {f'hits {c}': predicted & true, f'predicted {c}': predicted, f'true {c}': true}
    return {name: (value, batch.weights) for name, value in values.items()}

  def summary(self, means: dict[str, float]) -> dict[str, float]:
    counts = [
      [means[f'{name} {c}'] for name in ('hits', 'predicted', 'true')] for c in range(self.classes)
    ]
    scores = [labelled.f1(*own) for own in counts if any(own)]
    return {
      'accuracy': means['accuracy'], 'macro F1': sum(scores) / len(scores),
      'nats/text': means['nats/text'],
    }
