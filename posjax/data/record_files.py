"""Files of records: JSON Lines, Parquet and CSV.

Each reader yields (place, record) for the records of one file: the place is file:line or file:row,
for messages, and the record maps field names to values.
"""

import csv
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from posjax.data import files
from posjax.errors import UserError, one_line, one_of

EXAMPLE = 'a record such as {"text": "…"}'
KINDS = {
  dict: 'an object', list: 'a list', str: 'a string', bool: 'a boolean', int: 'a number',
  float: 'a number', type(None): 'null',
}


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
      check_fields(str(path), table.schema_arrow.names, fields)
      for batch in table.iter_batches(batch_size=1024, columns=[*fields]):
        for record in batch.to_pylist():
          number += 1
          yield f'{path}:{number}', record
    except (pyarrow.ArrowException, OSError) as error:
      why = one_line(error)
      raise UserError(f'{path} is corrupt, or not a Parquet file ({why})') from error


def comma_separated(path: pathlib.Path, fields: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
  """Yields (file:line, record) for each row; the header line names the fields.

  Values are strings, with the quotes of RFC 4180; a quoted value may contain line breaks, and the
  place is the last line of its row. Blank lines are skipped.
  """
  csv.field_size_limit(sys.maxsize)  # a document may be longer than the 131,072 characters of csv
  rows = csv.reader((line.decode() for line in files.lines(path)), strict=True)
  header: list[str] = []
  try:
    for row in rows:
      place = f'{path}:{rows.line_num}'
      if not header:
        header = row
        check_fields(place, header, fields)
      elif len(row) == len(header):
        yield place, dict(zip(header, row, strict=True))
      elif row:
        raise UserError(f'{place}: {len(row)} values; the header names {len(header)} fields')
  except UnicodeDecodeError as error:
    raise UserError(f'{path}:{rows.line_num + 1}: not UTF-8 ({error})') from error
  except csv.Error as error:
    raise UserError(f'{path}:{rows.line_num}: not CSV ({error})') from error


def check_fields(place: str, names: Sequence[str], fields: tuple[str, ...]) -> None:
  """Raises UserError for the first of `fields` that is not in `names`."""
  for field in fields:
    if field not in names:
      choices = one_of(field, [*names], 'each of data.fields')
      raise UserError(f'{place}: no field {field}; {choices}')


def kind_of(value: Any) -> str:
  """Returns the kind of a value in words, as JSON has it: 'a number'."""
  return KINDS.get(type(value), type(value).__name__)


READERS = {'jsonl': json_lines, 'parquet': parquet, 'csv': comma_separated}
