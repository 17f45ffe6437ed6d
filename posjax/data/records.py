"""Records as a corpus: each record of JSON Lines or Parquet files is one document.

A document is the text of the record's fields, in the order of `data.fields`, joined by newlines.
Records without text are skipped. The SHA-256 is of the documents in the order of file paths, then
of lines or rows, so that the same records are the same corpus in either format.

The test split has a twentieth of the records, at least one; the validation split has as many; all
others are for training. A random permutation of record numbers, with a fixed seed, assigns records
to splits: records sorted by topic or date are spread evenly over the splits, equally in every run.

Files are read once. Their documents are kept in a temporary file, which is mapped into memory; the
environment variable TMPDIR selects its folder.
"""

import array
import json
import mmap
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from posjax.data import files
from posjax.data.corpus import Corpus, Documents, check_splits, digest
from posjax.errors import UserError, one_line, one_of

SEED = 0  # of the splits
EXAMPLE = 'a record such as {"text": "…"}'
KINDS = {
  dict: 'an object', list: 'a list', str: 'a string', bool: 'a boolean', int: 'a number',
  float: 'a number', type(None): 'null',
}


def load(
  kind: str, pattern: str, expressions: Mapping[str, str], fields: tuple[str, ...]
) -> Corpus:
  """Opens the records in the files that `pattern` matches.

  Args:
    kind: 'jsonl' or 'parquet'.
    pattern: see files.py.
    expressions: split -> 'train', 'validation' or 'test'.
    fields: names of a record's fields; each must be a string in every record.

  Raises:
    UserError: no file matches, a file cannot be read, a record lacks a field, there are too few
      records, or a split does not exist.
  """
  name = f'{kind}:{pattern}'
  check_splits(name, expressions)
  if not fields:
    raise UserError('data.fields is empty: name at least one field, such as text')
  ends = array.array('q', [0])

  def documents(texts: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for path in files.find(name, pattern):
      for place, record in READERS[kind](path, fields):
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


def deal(count: int) -> dict[str, list[int]]:
  """Returns the record numbers of each split, ascending, for `count` records."""
  share = max(1, count // 20)
  drawn = np.random.RandomState(SEED).permutation(count)  # these draws never change in NumPy
  parts = np.split(drawn, [share, 2 * share])
  return {
    split: np.sort(part).tolist()
    for split, part in zip(('test', 'validation', 'train'), parts, strict=True)
  }


def document(place: str, record: Mapping[str, Any], fields: tuple[str, ...]) -> bytes:
  """Returns the text of a record. Raises UserError, naming its `place`, for a missing field."""
  for field in fields:
    if field not in record:
      choices = one_of(field, [*record], 'each of data.fields')
      raise UserError(f'{place}: no field {field}; {choices}')
    if not isinstance(record[field], str):
      raise UserError(f'{place}: the field {field} is {kind_of(record[field])}, not a string')
  return '\n'.join(record[field] for field in fields).encode('utf-8', 'surrogatepass')


def kind_of(value: Any) -> str:
  return KINDS.get(type(value), type(value).__name__)


def json_lines(path: pathlib.Path, fields: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
  """Yields (file:line, record) for each line that is not blank."""
  for number, line in enumerate(files.lines(path), 1):
    place = f'{path}:{number}'
    if not (line := line.strip()):
      continue
    try:
      record = json.loads(line)
    except (ValueError, RecursionError) as error:
      raise UserError(f'{place}: not JSON ({error}); each line must be {EXAMPLE}') from error
    if not isinstance(record, dict):
      raise UserError(f'{place}: {kind_of(record)}; each line must be {EXAMPLE}')
    yield place, record


def parquet(path: pathlib.Path, fields: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
  """Yields (file:row, record) for each row; one row group is in memory, and only its `fields`."""
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise UserError(
      f"{path} cannot be read without pyarrow; run: pip install -e '.[parquet]'"
    ) from error
  number = 0
  with files.opened(path) as (file, _):
    try:
      table = pyarrow.parquet.ParquetFile(file)
      columns = [field for field in fields if field in table.schema_arrow.names]
      if columns != [*fields]:  # rows contain only the columns read, so check here
        document(str(path), dict.fromkeys(table.schema_arrow.names, ''), fields)
      for batch in table.iter_batches(batch_size=1024, columns=columns):
        for record in batch.to_pylist():
          number += 1
          yield f'{path}:{number}', record
    except (pyarrow.ArrowException, OSError) as error:
      why = one_line(error)
      raise UserError(f'{path} is corrupt, or not a Parquet file ({why})') from error


READERS = {'jsonl': json_lines, 'parquet': parquet}
