"""Records of JSON Lines, Parquet and CSV files: as a corpus of text, or as labelled records.

As a corpus, each record is one document: the text of the record's fields, in the order of
`data.fields`, joined by newlines. Records without text are skipped. The SHA-256 is of the documents
in the order of file paths, then of lines or rows, so that the same records are the same corpus in
every format. Their documents are kept in a temporary file, which is mapped into memory; the
environment variable TMPDIR selects its folder.

As records, the values of the fields are kept apart, in memory. A value is a string or a list of
strings; whole numbers, such as label ids, become strings of their digits. CSV has no lists: there
the values of `LISTS` are separated by spaces.

The test split has a twentieth of the records, at least one; the validation split has as many; all
others are for training. A random permutation of record numbers, with a fixed seed, assigns records
to splits: records sorted by topic or date are spread evenly over the splits, equally in every run.

Files are read once.
"""

import array
import mmap
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from posjax.data import files
from posjax.data.corpus import (
  Corpus,
  Documents,
  Record,
  Records,
  Value,
  check_splits,
  digest,
  digest_records,
)
from posjax.data.record_files import READERS, check_fields, kind_of
from posjax.errors import UserError

SEED = 0  # of the splits
LISTS = ('tokens', 'tags')  # fields whose values are lists in CSV


def load(
  kind: str, pattern: str, expressions: Mapping[str, str], fields: tuple[str, ...]
) -> Corpus:
  """Opens the records in the files that `pattern` matches as a corpus of text.

  Args:
    kind: 'jsonl', 'parquet' or 'csv'.
    pattern: see files.py.
    expressions: split -> 'train', 'validation' or 'test'.
    fields: names of a record's fields; each must be a string in every record.

  Raises:
    UserError: no file matches, a file cannot be read, a record lacks a field, there are too few
      records, or a split does not exist.
  """
  name = f'{kind}:{pattern}'
  check_splits(name, expressions)
  ends = array.array('q', [0])

  def documents(texts: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for place, record in rows(kind, pattern, fields):
      if text := document(place, record, fields):
        texts.write(text)
        ends.append(ends[-1] + len(text))
        yield '', text

  with tempfile.TemporaryFile() as file:
    sha256, count = digest(documents(file)), len(ends) - 1
    if count < 3:
      raise UserError(f'{name}: {count} records have text; 3 are needed, one for each split')
    file.flush()
    texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  read = lambda index: texts[ends[index] : ends[index + 1]]
  dealt = deal(count)
  return Corpus(
    name=name,
    files=count,
    bytes=ends[-1],
    sha256=sha256,
    splits=tuple(expressions.values()),
    documents_by_split={
      split: Documents(dealt[expression], read) for split, expression in expressions.items()
    },
    unit='records',
  )


def load_records(
  kind: str, pattern: str, expressions: Mapping[str, str], fields: tuple[str, ...]
) -> Records:
  """Opens the records in the files that `pattern` matches.

  Args:
    kind: 'jsonl', 'parquet' or 'csv'.
    pattern: see files.py.
    expressions: split -> 'train', 'validation' or 'test'.
    fields: names of a record's fields; each must be a string, a whole number or a list of these.

  Raises:
    UserError: as for `load`.
  """
  check_splits(f'{kind}:{pattern}', expressions)
  found = []
  for place, record in rows(kind, pattern, fields):
    if kind == 'csv':
      record |= {field: record[field].split() for field in LISTS if field in record}
    found.append(values(place, record, fields))
  return in_splits(f'{kind}:{pattern}', fields, found, expressions)


def rows(
  kind: str, pattern: str, fields: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields (place, record), with at least `fields`, for all records in the order of the corpus."""
  if not fields:
    raise UserError('data.fields is empty: name at least one field, such as text')
  for path in files.find(f'{kind}:{pattern}', pattern):
    for place, record in READERS[kind](path, fields):
      check_fields(place, [*record], fields)
      yield place, record


def document(place: str, record: Mapping[str, Any], fields: tuple[str, ...]) -> bytes:
  """Returns the text of a record. Raises UserError, naming its `place`, for other values."""
  for field in fields:
    if not isinstance(record[field], str):
      raise UserError(f'{place}: the field {field} is {kind_of(record[field])}, not a string')
  return '\n'.join(record[field] for field in fields).encode('utf-8', 'surrogatepass')


def values(place: str, record: Mapping[str, Any], fields: tuple[str, ...]) -> Record:
  """Returns the values of a record. Raises UserError, naming its `place`, for other types."""

  def string(field: str, value: Any) -> str:
    if isinstance(value, str):
      return value
    if type(value) is int:  # a Boolean is an instance of int
      return str(value)
    raise UserError(
      f'{place}: the field {field} has {kind_of(value)}, not a string, a whole number, or a list '
      'of these'
    )

  def value(field: str) -> Value:
    if isinstance(record[field], list):
      return tuple(string(field, element) for element in record[field])
    return string(field, record[field])

  return tuple(map(value, fields))


def in_splits(
  name: str,
  fields: tuple[str, ...],
  records: Sequence[Record],
  expressions: Mapping[str, str],
  own_test: int = 0,
) -> Records:
  """Returns records in three splits.

  Args:
    name: their source.
    fields: the names of their values.
    records: all of them, in order.
    expressions: split -> 'train', 'validation' or 'test'.
    own_test: the number of records, at the end, that are the test split of the source.

  Raises:
    UserError: there are fewer than 3 records.
  """
  if len(records) < 3:
    raise UserError(f'{name}: {len(records)} records; 3 are needed, one for each split')
  dealt = deal(len(records), own_test)
  return Records(
    name=name,
    fields=fields,
    count=len(records),
    sha256=digest_records(records),
    splits=tuple(expressions.values()),
    records_by_split={
      split: Documents(dealt[expression], records.__getitem__)
      for split, expression in expressions.items()
    },
  )


def deal(count: int, own_test: int = 0) -> dict[str, list[int]]:
  """Returns the record numbers of each split, ascending, for `count` records.

  If the last `own_test` records are a test split of their own, the others are dealt to the training
  and validation splits.
  """
  drawn = np.random.RandomState(SEED).permutation(count - own_test)  # never changes in NumPy
  share = max(1, len(drawn) // 20)
  test, rest = (np.arange(count)[-own_test:], drawn) if own_test else np.split(drawn, [share])
  parts = {'test': test, 'validation': rest[:share], 'train': rest[share:]}
  return {split: np.sort(part).tolist() for split, part in parts.items()}
