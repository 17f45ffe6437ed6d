"""Tasks of records, such as texts with labels: their data, a guess to compare with, and F1."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from posjax import data
from posjax.batch import Batch, Example, Indexed
from posjax.data.corpus import SPLITS, Documents, Record, Records
from posjax.errors import UserError, show
from posjax.tasks.core.generated import name_of
from posjax.tasks.core.task import Task


@dataclasses.dataclass(frozen=True)
class Labelled(Task):
  """A task with `classes` labels, read from records."""

  classes: int = 2  # different labels; the model is built before the data is opened
  rows: int = 512  # records to test and to validate, evenly spaced over their splits
  forms = ('encoder', 'decoder')
  evaluation = ('rows',)

  @property
  def outputs(self) -> int:
    return self.classes

  def check(self, length: int) -> None:
    for name, least in (('classes', 2), ('rows', 1)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least {least}')


def load(corpus: Mapping[str, Any], **roles: Any) -> Records:
  """Opens the records of the config's section `data`.

  Args:
    corpus: the section; its `fields` name the fields of a record that play the roles.
    **roles: the meaning of each value of a record, in order: its type, str or tuple, or both.

  Raises:
    UserError: the number of fields is not that of the roles, a value has another type, or the
      records are not available.
  """
  names = ','.join(roles)
  if len(corpus['fields']) != len(roles):
    raise UserError(
      f'data.fields = {show(corpus["fields"])}: this task reads {len(roles)} fields: '
      f'--config.data.fields={names}, or the names that they have in these records'
    )
  records = data.load_records(**corpus)
  for split in SPLITS:
    for record in records.records(split):
      for field, value, kind in zip(records.fields, record, roles.values(), strict=True):
        if not isinstance(value, kind):
          found, needed = ('a string', 'a list') if kind is tuple else ('a list', 'a string')
          raise UserError(f'{records.name}: the field {field} has {found}; it must be {needed}')
  return records


def numbers(task: Any, records: Records) -> dict[Any, int]:
  """Returns the number of each label, the last value of a record.

  Raises:
    UserError: there are not `task.classes` of them.
  """
  found = sorted({label for split in SPLITS for *_, label in records.records(split)})
  if len(found) != task.classes:
    key = f'task.{name_of(task)}.classes'
    raise UserError(
      f'{key} = {task.classes}: {records.name} has {len(found)} labels; set '
      f'--config.{key}={len(found)}'
    )
  return {label: index for index, label in enumerate(found)}


def identity(task: Task, records: Records) -> dict[str, str]:
  """Returns name, hash and split; the records and the task's arguments determine the hash."""
  left_out = (*task.evaluation, *task.may_differ)
  arguments = {key: getattr(task, key) for key in task.arguments() if key not in left_out}
  text = json.dumps([records.sha256, name_of(task), arguments])
  return dict(
    name=str(records), sha256=hashlib.sha256(text.encode()).hexdigest(), split=records.splits[0]
  )


def training(
  records: Sequence[Record], example: Callable[[Record], Example]
) -> Indexed[Indexed[Example]]:
  """Returns documents of one example each, which is created when a document is indexed."""
  return Documents(records, lambda record: (example(record),))


def spaced(records: Sequence[Record], count: int) -> list[Record]:
  """Returns `count` records, evenly spaced; all of them if there are fewer."""
  picks = np.linspace(0, len(records) - 1, min(count, len(records)))
  return [records[int(index)] for index in picks.round()]


def utf8(text: Any) -> bytes:
  """Returns the bytes of a text; JSON permits half of a surrogate pair, which UTF-8 does not."""
  return text.encode('utf-8', 'surrogatepass')


def guess(task: Task, outputs: np.ndarray, rows: Batch) -> dict[str, float]:
  """Returns the `shown` metrics of outputs [B, T, outputs] that no model computed."""
  found = jax.jit(task.metrics)(outputs, rows)
  mean = lambda values, weights: float(np.sum(values * weights) / np.sum(weights))
  summary = task.summary({name: mean(*map(np.asarray, pair)) for name, pair in found.items()})
  return {name: summary[name] for name in task.shown}


def f1(hits: float, predicted: float, true: float) -> float:
  """Returns the harmonic mean of precision and recall, from numbers or means; 0 if there are none.

  Precision is hits / predicted, recall hits / true.
  """
  return 2 * hits / (predicted + true) if predicted + true else 0.0
