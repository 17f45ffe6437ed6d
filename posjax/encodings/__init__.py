"""The shelf: one file per encoding, found by itself. `rope.py` holds the encoding called 'rope'."""

import dataclasses
import difflib
import importlib
import pkgutil

from posjax.config import UserError
from posjax.encodings.encoding import At, Bound, Encoding, Pair, Tokens

__all__ = [
  'At', 'Bound', 'Encoding', 'Pair', 'Tokens', 'arguments', 'build', 'find', 'name_of', 'names',
]


def names():
  """Names of all encodings on the shelf, sorted."""
  return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != 'encoding')


def find(name):
  """The class of the encoding called `name`; UserError names the nearest if there is none."""
  if name not in names():
    near = difflib.get_close_matches(name, names(), n=1)
    raise UserError(
      f'encoding.layers: there is no encoding {name!r}'
      + (f'; did you mean {near[0]!r}?' if near else '')
      + f' (encodings: {", ".join(names())})'
    )
  module = importlib.import_module(f'{__name__}.{name}')
  found = [
    value for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Encoding)
    and value.__module__ == module.__name__
  ]
  if len(found) != 1:
    raise UserError(f'{module.__file__}: {len(found)} encodings are defined here; it must be one')
  return found[0]


def name_of(encoding):
  """The name of an encoding's file, under which its weights and arguments are found."""
  return type(encoding).__module__.rpartition('.')[2]


def arguments(encoding):
  """The arguments of an encoding, or of its class, with their values or defaults."""
  own = (f.name for f in dataclasses.fields(encoding) if f.name not in ('dims', 'parent', 'name'))
  return {name: getattr(encoding, name) for name in own}


def build(dims, layers, **sections):
  """The encodings of a pattern of layers, from the keys of a config's section `encoding`.

  Args:
    dims: the model's `Dims`.
    layers: names, one for each layer of the pattern.
    **sections: the arguments of each encoding, under its name.

  Raises:
    UserError: an unknown encoding or argument, a wrong type or value, a section without a layer.
  """
  classes = [(name, find(name)) for name in layers]
  for section in sections:
    if section not in layers:
      raise UserError(
        f'encoding.{section}: encoding.layers is {",".join(layers)}, so no layer would read it; '
        f'start from --config=configs/{layers[0]}.py, or add {section} to the layers'
      )
  return tuple(_build_one(dims, name, kind, sections.get(name, {})) for name, kind in classes)


def _build_one(dims, name, encoding, values):
  valid = arguments(encoding)
  for key, value in values.items():
    if key not in valid:
      near = difflib.get_close_matches(key, valid, n=1)
      raise UserError(
        f'encoding.{name}.{key}: {name} has no such argument'
        + (f'; did you mean {near[0]!r}?' if near else '')
        + f' (arguments: {", ".join(valid) or "none"})'
      )
    kind = type(valid[key])
    if not isinstance(value, (float, int) if kind is float else kind):
      raise UserError(f'encoding.{name}.{key}: {value!r} is not of type {kind.__name__}')
  try:
    return encoding(**values).with_dims(dims)
  except ValueError as error:
    raise UserError(f'encoding.{name}: {error}') from error
