"""A corpus of documents, or a set of records: random access, in three splits.

Both have a size and a hash; only runs with the same hash can be compared.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from posjax.errors import UserError

SPLITS = ('train', 'validation', 'test')
Value = str | tuple[str, ...]  # of a field: a text or a label; tokens, tags or turns
Record = tuple[Value, ...]  # one value per field


def check_splits(name: str, expressions: Mapping[str, str]) -> None:
  """Raises UserError if the corpus `name` is asked for a split other than the three."""
  for expression in expressions.values():
    if expression not in SPLITS:
      raise UserError(f'{name} has the splits {", ".join(SPLITS)}, not {expression!r}')


@dataclasses.dataclass(frozen=True)
class Documents(Sequence):
  """A sequence with one document per key; indexing reads the document."""

  keys: Sequence[Any]
  read: Callable[[Any], Any]

  def __len__(self) -> int:
    return len(self.keys)

  def __getitem__(self, index: int) -> Any:
    return self.read(self.keys[index])

  def __iter__(self) -> Iterator[Any]:
    # `Sequence.__iter__` stops at an IndexError, which array_record does not raise.
    return (self[index] for index in range(len(self)))


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Text in three splits.

  Attributes:
    name: its source; for TFDS with the dataset's configuration and version.
    files: the number of documents in the entire dataset; one file, or record, is one document.
    bytes: the size of all documents; for a foreign TFDS dataset the size that TFDS records.
    sha256: hex digest of the documents; for a foreign TFDS dataset of its TFDS metadata.
    splits: expressions for train, validation, test: ('train[:95%]', 'train[95%:]', 'test').
    unit: the unit that `files` counts.
    documents_by_split: 'train', 'validation', 'test' -> their documents.
  """

  name: str
  files: int
  bytes: int
  sha256: str
  splits: tuple[str, ...]
  documents_by_split: Mapping[str, Sequence[bytes]] = dataclasses.field(repr=False, compare=False)
  unit: str = 'files'

  def documents(self, split: str) -> Sequence[bytes]:
    """Returns the documents of a split of `SPLITS`. Raises UserError for another name."""
    if split not in SPLITS:
      raise UserError(f'a corpus has the splits {", ".join(SPLITS)}, not {split!r}')
    return self.documents_by_split[split]

  def __str__(self) -> str:
    size = f'{self.files:,} {self.unit}, {self.bytes / 1e6:.2f} MB'
    return f'{self.name}: {size}, SHA-256 {self.sha256[:12]}'


@dataclasses.dataclass(frozen=True)
class Records:
  """Records with labels, or other values apart from each other, in three splits.

  Attributes:
    name: their source; for TFDS with the dataset's configuration and version.
    fields: the names of the values of a record.
    count: the number of records in the entire source.
    sha256: hex digest of the records, with these fields, in order; for a TFDS dataset of its TFDS
      metadata and the names of the fields.
    splits: expressions for train, validation, test: ('train[:95%]', 'train[95%:]', 'test').
    records_by_split: 'train', 'validation', 'test' -> their records.
  """

  name: str
  fields: tuple[str, ...]
  count: int
  sha256: str
  splits: tuple[str, ...]
  records_by_split: Mapping[str, Sequence[Record]] = dataclasses.field(repr=False, compare=False)

  def records(self, split: str) -> Sequence[Record]:
    """Returns the records of a split of `SPLITS`, each with one value per field, in their order.

    Raises:
      UserError: the split does not exist.
    """
    if split not in SPLITS:
      raise UserError(f'records have the splits {", ".join(SPLITS)}, not {split!r}')
    return self.records_by_split[split]

  def __str__(self) -> str:
    fields = ', '.join(self.fields)
    return f'{self.name}: {self.count:,} records of {fields}, SHA-256 {self.sha256[:12]}'


def digest_records(records: Iterable[Record]) -> str:
  """Returns the SHA-256, in hex, of records in the given order; a line of JSON for each."""
  sha = hashlib.sha256()
  for record in records:
    sha.update(json.dumps(record).encode() + b'\n')
  return sha.hexdigest()


def digest(documents: Iterable[tuple[str, bytes]]) -> str:
  """Returns the SHA-256, in hex, of (name, text) pairs in the given order.

  Each string is preceded by its length, so that different lists of pairs are different streams.
  """
  sha = hashlib.sha256()
  for name, text in documents:
    for string in (os.fsencode(name), text):
      sha.update(len(string).to_bytes(8, 'big'))
      sha.update(string)
  return sha.hexdigest()


def cuts(text: bytes) -> tuple[int, int, int, int]:
  """Returns the bounds of 90, 5 and 5 percent of a text, each after a newline if one is near.

  The search covers only a twentieth of the text: if a short first line precedes one huge line, a
  cut after the first line would leave almost nothing to train on.
  """
  bounds = [0]
  for cut in (len(text) * 90 // 100, len(text) * 95 // 100):
    newline = text.rfind(b'\n', max(bounds[-1], cut - len(text) // 20), cut)
    bounds.append(cut if newline < 0 else newline + 1)
  return *bounds, len(text)
