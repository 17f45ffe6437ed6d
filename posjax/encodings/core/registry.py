"""The registry of encodings: finds them by name and builds them from a config."""

import contextlib
import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flax.core import FrozenDict

from posjax.dims import Dims
from posjax.encodings.core.chain import Chain
from posjax.encodings.core.encoding import Encoding
from posjax.errors import UserError

FOLDER = Path(__file__).parents[1]

SET = 'dims', 'axis', 'parent', 'name'  # fields of an encoding that are not arguments

# Largest arguments: float32 counts up to 2**24 exactly, as positions need, and can hold 1e38.
LARGEST = {int: 2**24, float: 1e38}


def names() -> list[str]:
  """Returns the names of all encodings, sorted."""
  return sorted(m.name for m in pkgutil.iter_modules([str(FOLDER)]) if not m.ispkg)


def find(name: str) -> type[Encoding]:
  """Returns the class of the encoding `name`, or raises UserError with the nearest name."""
  if name not in names():
    lower = name.lower()  # for example ALiBi
    plain = lower.partition('_')[0]  # without a label, if it has one
    near = [m for n in (lower, plain) for m in difflib.get_close_matches(n, names())]
    raise UserError(
      f'encoding.layers: there is no encoding {name!r}'
      + (f'; did you mean {near[0]!r}?' if near else '')
      + f' (encodings: {", ".join(names())})'
    )
  module = importlib.import_module(f'posjax.encodings.{name}')
  found = [
    value for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Encoding)
    and value.__module__ == module.__name__
  ]
  if len(found) != 1:
    raise UserError(f'{module.__file__}: {len(found)} encodings in this file; define exactly one')
  return found[0]


def arguments(encoding: Encoding | type[Encoding]) -> dict[str, Any]:
  """Returns the arguments of an encoding, or of its class, with their values or defaults."""
  own = (f.name for f in dataclasses.fields(encoding) if f.name not in SET)
  values = {name: getattr(encoding, name) for name in own}
  return {k: dict(v) if isinstance(v, FrozenDict) else v for k, v in values.items()}


def unlabelled(section: str) -> str:
  """Returns the encoding of a section: 'rope' for 'rope' and for 'rope_global'.

  A label after the name distinguishes two settings of one encoding.
  """
  name = section
  while name not in names() and '_' in name:
    name = name.rpartition('_')[0]
  return name if name in names() else section


def sections_of(layers: Sequence[str]) -> list[str]:
  """Returns the sections that a pattern of layers reads: ('rope', 'alibi+rope') reads two."""
  return [*dict.fromkeys(
    part.partition('@')[0] for layer in layers for part in layer.split('+')
  )]


def build(dims: Dims, /, layers: Sequence[str], **sections: Any) -> tuple[Encoding, ...]:
  """Returns the encodings of a pattern of layers, from the section `encoding` of a config.

  Args:
    dims: the model's `Dims`.
    layers: for each layer of the pattern a name ('rope'), a name with a label ('rope_global'), or a
      chain of names ('randomize+rope'); a part may see one axis only ('alibi@0+alibi@1').
    **sections: the arguments of each encoding, under its name and label.

  Raises:
    UserError: unknown encoding or argument, wrong type or value, or section that no layer reads.
  """
  check_sections(layers, sections)
  found = {part: find(unlabelled(part)) for part in sections_of(layers)}
  made = {part: _make(part, kind, sections.get(part, {})) for part, kind in found.items()}
  return tuple(
    _compose(dims, layer, [_part(part, made) for part in layer.split('+')]) for layer in layers
  )


def check_sections(layers: Sequence[str], sections: Iterable[str]) -> None:
  """Raises UserError for an unknown encoding, or for a section that none of the layers reads."""
  found = {part: find(unlabelled(part)) for part in sections_of(layers)}
  for section in sections:
    if section not in found:
      start = f'start from --config=configs/{layers[0]}.py, or ' if layers[0] in names() else ''
      raise UserError(
        f'encoding.{section}: encoding.layers is {",".join(layers)}, so no layer would read it; '
        f'{start}add {section} to the layers'
      )


def _make(section, kind, values):
  """Returns an encoding with the arguments of its section."""
  valid = arguments(kind)
  if not hasattr(values, 'items'):
    raise UserError(f'encoding.{section}: {values!r} is not a section, such as dict(…)')
  for key, value in values.items():
    if key not in valid:
      near = difflib.get_close_matches(key, valid, n=1)
      raise UserError(
        f'encoding.{section}.{key}: {unlabelled(section)} has no such argument'
        + (f'; did you mean {near[0]!r}?' if near else '')
        + f' (arguments: {", ".join(valid) or "none"})'
      )
    expected = type(valid[key])
    if expected is dict and hasattr(value, 'items'):
      continue  # the encoding's `check` validates the keys
    if type(value) not in ((float, int) if expected is float else (expected,)):
      raise UserError(f'encoding.{section}.{key}: {value!r} is not of type {expected.__name__}')
    if expected in LARGEST and not abs(value) <= LARGEST[expected]:
      raise UserError(
        f'encoding.{section}.{key}: it must lie between -{LARGEST[expected]} and '
        f'{LARGEST[expected]}; it is {value}'
      )
  return kind(**values)


def _part(part, made):
  """Returns the encoding of 'alibi' or, on the second axis of positions, 'alibi@1'."""
  section, at, axis = part.partition('@')
  if at and not axis.isdecimal():
    raise UserError(
      f"encoding.layers: {part}: after @ comes the axis of positions, counted from 0: '{section}@0'"
    )
  return made[section].clone(axis=int(axis)) if at else made[section]


def _compose(dims, layer, parts):
  """Returns the encoding of a layer; checks each part alone, so that a message names the part."""
  for section, part in zip(layer.split('+'), parts, strict=True):
    with _blame_section(section.partition('@')[0]):
      part.with_dims(dims)
  with _blame_section(layer):
    return (parts[0] if len(parts) == 1 else Chain(tuple(parts))).with_dims(dims)


@contextlib.contextmanager
def _blame_section(section):
  try:
    yield
  except ValueError as error:
    raise UserError(f'encoding.{section}: {error}') from error
