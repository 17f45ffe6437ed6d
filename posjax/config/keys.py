"""Configs as flat dicts, {'model.dim': 64, …}: their differences, and checks of keys and types."""

import difflib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from posjax.config.comments import documented
from posjax.errors import UserError, show

KINDS = {
  bool: 'true or false', int: 'an integer', float: 'a number', str: 'a word', list: 'a tuple',
}


def to_dict(config: ConfigDict) -> dict[str, Any]:
  """Returns the config as a nested dict, as json.load would return it: tuples become lists."""
  return json.loads(config.to_json())


def flatten(config: ConfigDict | dict[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns {'model.dim': 64, …} of a ConfigDict or plain dict; lists become tuples again."""
  flat = {}
  for name, value in (to_dict(config) if isinstance(config, ConfigDict) else config).items():
    if isinstance(value, dict):
      flat |= flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = tuple(value) if isinstance(value, list) else value
  return flat


SAME = 'same'  # in model.encoder: the encodings of encoding.layers
NAMING = 'encoding.layers', 'model.encoder', 'model.cross'  # keys that name encodings


def layers_of(flat: dict[str, Any]) -> tuple[str, ...]:
  """Returns encoding.layers of a flat config, and others that model.encoder and model.cross name.

  `nope`, the default of model.cross, has no arguments.
  """
  layers, *others = (flat.get(key, ()) for key in NAMING)
  return *layers, *(layer for own in others for layer in own if layer not in (SAME, 'nope'))


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
  """Returns {key: (old value, new value)} where two flat dicts differ; None for an absent key."""
  pairs = {key: (old.get(key), new.get(key)) for key in old | new}
  return {key: (a, b) for key, (a, b) in pairs.items() if a != b}


def changes(difference: dict[str, tuple[Any, Any]]) -> str:
  """Returns the result of `difference` as text: 'seed 0 -> 1, model.dim 64 -> 128'."""
  word = lambda value: 'absent' if value is None else show(value)
  return ', '.join(f'{k} {word(a)} -> {word(b)}' for k, (a, b) in difference.items())


def check_types(values: dict[str, Any], like: dict[str, Any]) -> None:
  """Raises UserError unless two flat dicts have the same keys and types, also within tuples."""
  for key, value in values.items():
    if key not in like:
      raise UserError(f'{key}: {no_key(key, like)}')
    elements, models = [v if isinstance(v, tuple) else (v,) for v in (value, like[key])]
    expected = {*map(type, models)}
    if float in expected and isinstance(value, tuple):
      expected.add(int)  # 1,2.5 has both
    strangers = models and {*map(type, elements)} - expected
    if type(value) is not type(like[key]) or strangers:
      raise mistyped(key, value, like[key])
  if missing := like.keys() - values.keys():
    raise UserError(f'{min(missing)}: missing; start from base.get_config(size) of configs/base.py')


def mistyped(key: str, value: Any, like: Any) -> UserError:
  each, kind = ('each ', type(like[0])) if isinstance(like, tuple) else ('', type(like))
  return UserError(f'{key} = {show(value)}: {each}must be {KINDS[kind]}, such as {show(like)}')


def no_key(key: str, keys: Collection[str], path: Path | None = None) -> str:
  """Returns a hint for `key`, which is not among the flat `keys` of the config at `path`."""
  if children := [k.removeprefix(f'{key}.') for k in keys if k.startswith(f'{key}.')]:
    return f'is a section; set its keys one by one: {", ".join(children)}'
  if close := nearest_key(key, keys):
    where = documented(path).get(close)
    return f'no such key; did you mean {close}' + (f' ({where[0]})?' if where else '?')
  section = key.rpartition('.')[0]
  siblings = [k.removeprefix(f'{section}.') for k in keys if k.startswith(f'{section}.')]
  names = siblings or dict.fromkeys(k.partition('.')[0] for k in keys)
  return f'no such key; {section if siblings else "the config"} has {", ".join(names)}'


def nearest_key(key: str, keys: Iterable[str]) -> str | None:
  """Returns the key whose last name is most similar to the last name of `key`, or None."""
  alike = sorted(keys, key=lambda k: difflib.SequenceMatcher(None, k, key).ratio())
  named = {k.rpartition('.')[2]: k for k in alike}
  close = difflib.get_close_matches(key.rpartition('.')[2], named, 1)
  return named[close[0]] if close else None
