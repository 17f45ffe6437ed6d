"""Values of TFDS features as strings: text, whole numbers, the names of labels, and lists of these.

A field is a feature, or a part of one by a dotted path: `answers.text`. An array of whole numbers,
such as an image, is the list of its numbers, in the order of rows.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from posjax.data.corpus import Record, Value
from posjax.data.record_files import check_fields
from posjax.errors import UserError


def reader(
  name: str, features: Mapping[str, Any], fields: tuple[str, ...]
) -> Callable[[Mapping[str, Any]], Record]:
  """Returns a function from an example of a dataset to the values of `fields`.

  Raises:
    UserError: a field does not exist, or is neither text, a label, a whole number, nor a list of
      these.
  """
  leaves = dict(flatten(features))
  check_fields(f'tfds:{name}', [*leaves], fields)
  readers = [value_reader(f'tfds:{name}', field, *leaves[field]) for field in fields]
  return lambda example: tuple(read(example) for read in readers)


def flatten(
  features: Mapping[str, Any], prefix: str = '', depth: int = 0
) -> Iterator[tuple[str, tuple[Any, int]]]:
  """Yields (dotted path, (feature, number of lists around it)) for each feature."""
  for key, feature in features.items():
    around = depth
    while isinstance(feature, tfds.features.Sequence):
      feature, around = feature.feature, around + 1
    if isinstance(feature, tfds.features.FeaturesDict):
      yield from flatten(feature, f'{prefix}{key}.', around)
    else:
      yield prefix + key, (feature, around)


def value_reader(
  name: str, field: str, feature: Any, depth: int
) -> Callable[[Mapping[str, Any]], Value]:
  """Returns a function from an example to the value of a field, a tuple if it is in a list."""
  numbers = feature.shape != () and np.issubdtype(feature.np_dtype, np.integer)
  string = str if numbers else string_reader(feature)
  if depth + numbers > 1 or string is None:
    lists = 'a list of lists' if depth > 1 else f'{feature!r}'
    raise UserError(
      f'{name}: the field {field} is {lists}, not text, a label, a whole number, or a list of these'
    )

  def read(example: Mapping[str, Any]) -> Value:
    value: Any = example
    for key in field.split('.'):
      value = value[key]
    if numbers:
      return tuple(map(str, np.ravel(value).tolist()))
    return tuple(map(string, value)) if depth else string(value)

  return read


def string_reader(feature: Any) -> Callable[[Any], str] | None:
  """Returns a function from a value of a feature to a string; None for other features."""
  if isinstance(feature, tfds.features.ClassLabel):
    names = feature.names  # -1 marks an unknown label, as in the test splits of GLUE
    return lambda label: names[label] if 0 <= label < len(names) else str(label)
  if feature.shape != ():
    return None
  if np.dtype(feature.np_dtype).kind == 'O':  # bytes in array_record, but str in some sources
    return lambda text: text if isinstance(text, str) else bytes(text).decode()
  return str if np.issubdtype(feature.np_dtype, np.integer) else None
