"""What makes a scaling of RoPE wrong: a line that says what, where and the nearest valid choice."""

import difflib
import inspect
import math
import warnings

from posjax.encodings.parts.scaling import TYPES, frozen


def _number(x):
  return type(x) in (int, float) and abs(x) <= 1e38


def _whole(x, least):
  return type(x) is int and least <= x < 2**31


_SWITCH = 'True or False', lambda x: type(x) is bool
LENGTH = 'original_max_position_embeddings'
COUNT = 'a whole number from 1 on', lambda x: _whole(x, 1)
POSITIVE = 'a positive number', lambda x: _number(x) and x >= 1e-38
NOT_NEGATIVE = 'a number from 0 on', lambda x: _number(x) and x >= 0
_DIVISORS = 'positive numbers', lambda x: type(x) is tuple and all(map(POSITIVE[1], x))
# What the value of a key must be.
VALUES = {
  'factor': ('a number from 1 on', lambda x: _number(x) and x >= 1),
  LENGTH: ('a whole number from 2 on', lambda x: _whole(x, 2)),
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
  'clip_low_n': ('a whole number from 0 on', lambda x: _whole(x, 0)),
  'hard': _SWITCH,
}
# Turns within the trained length from which on a plane is scaled less, and not at all.
RAMPS = {'yarn': ('beta_slow', 'beta_fast'), 'llama3': ('low_freq_factor', 'high_freq_factor')}


def check(scaling):
  """Raises ValueError, one line, for a key or value that is wrong whatever the frequencies."""
  if not scaling:
    return
  if 'type' in scaling:  # `frozen` left it: it is not what rope_type is
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


def keys(kind):
  """{key: its default, or inspect.Parameter.empty} of a type."""
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


def of_trained_length(scaling, length):
  """Returns the scaling with `length` as its trained length, if its type needs one and it has none.
  """
  kind = frozen(scaling).get('rope_type')
  needed = kind in [*TYPES] and keys(kind).get(LENGTH) is inspect.Parameter.empty
  return {**scaling, LENGTH: length} if needed and LENGTH not in scaling else dict(scaling)


def check_fit(scaling, theta):
  """Raises ValueError, one line, if a valid scaling does not fit the frequencies `theta`."""
  kind = scaling.get('rope_type', 'default')
  if kind in ('ntk', 'dynamic', 'yarn') and not (len(theta) > 1 and theta[1] < theta[0]):
    raise ValueError(
      f'scaling: {kind} needs four channels that turn, and a base above 1, so that frequencies '
      f'differ; {2 * len(theta)} turn'
    )
  if scaling.get('resonance') and max(theta) > 1:
    raise ValueError('scaling: resonance needs a base from 1 on, as no wavelength rounds to 0 then')
  for key in ('short_factor', 'long_factor'):
    if key in scaling and len(scaling[key]) != len(theta):
      raise ValueError(
        f'scaling: {key} must have a number for each of {len(theta)} planes; '
        f'it has {len(scaling[key])}'
      )
  if kind in RAMPS:
    _check_ramp(kind, keys(kind) | dict(scaling))


def _check_ramp(kind, values):
  """The fastest plane makes L / (2 pi) turns in training: where do they lie on the ramp?

  Below it, the ramp of YaRN's code has no meaning. Within it, no plane stays as it was: a warning.
  """
  L = values[LENGTH]
  (low, lowest), (high, highest) = [
    (f'{key} = {values[key]:g}', math.ceil(2 * math.pi * values[key])) for key in RAMPS[kind]
  ]
  short = f'times within {LENGTH} = {L}'
  if L < lowest and values.get('ramp') == 'code':
    raise ValueError(f'scaling: no plane turns {low} {short}; it must be {lowest} at least')
  if L < highest:
    warnings.warn(
      f'scaling: {kind} is close to linear here: no plane turns {high} {short}; '
      f'train on {highest} tokens at least, or lower {RAMPS[kind][1]}', stacklevel=2,
    )


def nearest(word, words):
  """Returns the end of a message about `word`: the one of `words` that may be meant, if any is."""
  near = difflib.get_close_matches(str(word), words, n=1)
  return f'; did you mean {near[0]!r}?' if near else ''
