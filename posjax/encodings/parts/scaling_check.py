"""Checks of RoPE scalings: errors of one line that name the key and the nearest valid choice."""

import difflib
import inspect
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from posjax.encodings.parts.scaling import TYPES, frozen


def _number(x):
  return type(x) in (int, float) and abs(x) <= 1e38


def _whole(x, least):
  return type(x) is int and least <= x < 2**31


_SWITCH = 'True or False', lambda x: type(x) is bool
LENGTH = 'original_max_position_embeddings'
COUNT = 'an integer of at least 1', lambda x: _whole(x, 1)
POSITIVE = 'a positive number', lambda x: _number(x) and x >= 1e-38
NOT_NEGATIVE = 'a number of at least 0', lambda x: _number(x) and x >= 0
_DIVISORS = 'positive numbers', lambda x: type(x) is tuple and all(map(POSITIVE[1], x))
# For each key: a description of the valid values, and a test for them.
VALUES = {
  'factor': ('a number of at least 1', lambda x: _number(x) and x >= 1),
  LENGTH: ('an integer of at least 2', lambda x: _whole(x, 2)),
  'beta_fast': POSITIVE,
  'beta_slow': POSITIVE,
  'ramp': ("'code' or 'paper'", lambda x: x in ('code', 'paper')),
  'truncate': _SWITCH,
  'attention_factor': POSITIVE,
  'mscale': NOT_NEGATIVE,
  'mscale_all_dim': NOT_NEGATIVE,
  'resonance': _SWITCH,
  'short_factor': _DIVISORS,
  'long_factor': _DIVISORS,
  'low_freq_factor': POSITIVE,
  'high_freq_factor': POSITIVE,
  'partial_rotary_factor': ('a number from 0 to 1', lambda x: _number(x) and 0 <= x <= 1),
  'clip_low_n': ('an integer of at least 0', lambda x: _whole(x, 0)),
  'hard': _SWITCH,
}
# The numbers of turns within the trained length above which a plane is scaled less, and not at all.
RAMPS = {'yarn': ('beta_slow', 'beta_fast'), 'llama3': ('low_freq_factor', 'high_freq_factor')}


def check(scaling: Mapping[str, Any]) -> None:
  """Raises ValueError, one line, for a key or value that is wrong for any frequencies."""
  if not scaling:
    return
  if 'type' in scaling:  # `frozen` keeps it only if it contradicts rope_type
    raise ValueError(
      f"scaling: type is {scaling['type']!r} and rope_type {scaling['rope_type']!r}; they are two "
      'names of one key: give one'
    )
  if 'rope_type' not in scaling:
    raise ValueError(f'scaling: rope_type is missing; valid: {", ".join(TYPES)}')
  own = dict(scaling)
  kind = own.pop('rope_type')
  if kind not in [*TYPES]:
    raise ValueError(
      f'scaling: rope_type is {kind!r}{nearest(kind, TYPES)} (valid: {", ".join(TYPES)})'
    )
  defaults = keys(kind)
  for key in own:
    if key not in defaults:
      raise ValueError(
        f'scaling: {kind} has no {key!r}{nearest(key, defaults)} '
        f'(keys: {", ".join(defaults) or "none"})'
      )
  needed = [key for key, value in defaults.items() if value is inspect.Parameter.empty]
  if missing := [key for key in needed if key not in own]:
    raise ValueError(f'scaling: {kind} needs {" and ".join(missing)}')
  for key, value in own.items():
    words, valid = VALUES[key]
    if not valid(value):
      raise ValueError(f'scaling: {key} must be {words}; it is {value!r}')
  _check_together(kind, defaults | own)


def keys(kind: str) -> dict[str, Any]:
  """Returns {key: its default, or inspect.Parameter.empty} of a type."""
  parameters = inspect.signature(TYPES[kind]).parameters.values()
  return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _check_together(kind, values):
  if kind in RAMPS:
    low, high = RAMPS[kind]
    if values[low] > values[high]:
      raise ValueError(
        f'scaling: {low} must be at most {high}; they are {values[low]} and {values[high]}'
      )
  if kind == 'yarn' and bool(values['mscale']) != bool(values['mscale_all_dim']):
    raise ValueError('scaling: mscale and mscale_all_dim go together: give both, or neither')


def of_trained_length(scaling: Mapping[str, Any], length: int) -> dict[str, Any]:
  """Returns the scaling with `length` as the trained length, if it needs one and has none."""
  kind = frozen(scaling).get('rope_type')
  needed = kind in [*TYPES] and keys(kind).get(LENGTH) is inspect.Parameter.empty
  return {**scaling, LENGTH: length} if needed and LENGTH not in scaling else dict(scaling)


def check_fit(scaling: Mapping[str, Any], theta: np.ndarray) -> None:
  """Raises ValueError, one line, if a valid scaling does not fit the frequencies `theta`."""
  kind = scaling.get('rope_type', 'default')
  if kind in ('ntk', 'dynamic', 'yarn') and not (len(theta) > 1 and theta[1] < theta[0]):
    raise ValueError(
      f'scaling: {kind} needs at least four rotated channels and a base above 1, so that '
      f'frequencies differ; {2 * len(theta)} channels rotate'
    )
  if scaling.get('resonance') and max(theta) > 1:
    raise ValueError('scaling: resonance needs a base of at least 1, or wavelengths round to 0')
  for key in ('short_factor', 'long_factor'):
    if key in scaling and len(scaling[key]) != len(theta):
      raise ValueError(
        f'scaling: {key} must have a number for each of {len(theta)} planes; '
        f'it has {len(scaling[key])}'
      )
  if kind in RAMPS:
    _check_ramp(kind, keys(kind) | dict(scaling))


def _check_ramp(kind, values):
  """Checks where the fastest plane, with L / (2 pi) turns in training, lies on the ramp.

  Below the ramp, the ramp of YaRN's code is undefined: an error. Within the ramp, every plane is
  scaled: a warning.
  """
  L = values[LENGTH]
  (low, lowest), (high, highest) = [
    (f'{key} = {values[key]:g}', math.ceil(2 * math.pi * values[key])) for key in RAMPS[kind]
  ]
  short = f'turns within {LENGTH} = {L}'
  if L < lowest and values.get('ramp') == 'code':
    raise ValueError(f'scaling: no plane makes {low} {short}; it must be at least {lowest}')
  if L < highest:
    warnings.warn(
      f'scaling: {kind} is close to linear here: no plane makes {high} {short}; '
      f'train on at least {highest} tokens, or lower {RAMPS[kind][1]}', stacklevel=2,
    )


def nearest(word: Any, words: Iterable[str]) -> str:
  """Returns the end of a message about `word`: the nearest of `words`, or '' if none is near."""
  near = difflib.get_close_matches(str(word), words, n=1)
  return f'; did you mean {near[0]!r}?' if near else ''
