"""RoPE's settings from a Hugging Face config's `rope_parameters`, or `rope_scaling`, and back.

  Rope(**read(config['rope_scaling'], rope_theta=config['rope_theta']), layout='half')

Which channels are pairs does not stand in these: that is a matter of the model's class.
"""

from collections.abc import Mapping

from posjax.encodings import scaling_check

PLAIN = {'rope_type': 'default'}
# What can be read and written; the other types, and two keys, are this package's own.
TYPES = ('default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3', 'proportional')
OURS = ('ramp', 'resonance')
# What may stand beside the parameters, and what it must be.
BESIDE = {
  'rope_theta': scaling_check.POSITIVE,
  'partial_rotary_factor': scaling_check.VALUES['partial_rotary_factor'],
  'max_position_embeddings': scaling_check.VALUES['original_max_position_embeddings'],
  'original_max_position_embeddings': scaling_check.VALUES['original_max_position_embeddings'],
}


def read(
  parameters, *, rope_theta=None, partial_rotary_factor=None, max_position_embeddings=None,
  original_max_position_embeddings=None,
):
  """The arguments `base`, `fraction` and `scaling` of `Rope`; of nested ones {layer type: those}.

  Args:
    parameters: `rope_parameters`, or the older `rope_scaling`, or None.
    rope_theta: what the config says beside them, as all that follow, if it does.
    partial_rotary_factor: the same.
    max_position_embeddings: the same; some types have their L, or factor, from there.
    original_max_position_embeddings: the same.

  Raises:
    ValueError: one line, for what is unknown, missing or wrong; nothing is passed over.
  """
  beside = dict(
    rope_theta=rope_theta, partial_rotary_factor=partial_rotary_factor,
    max_position_embeddings=max_position_embeddings,
    original_max_position_embeddings=original_max_position_embeddings,
  )
  parameters = {} if parameters is None else parameters
  if not isinstance(parameters, Mapping):
    raise ValueError(f'rope_parameters must be a dictionary, or None; it is {parameters!r}')
  if not any(isinstance(value, Mapping) for value in parameters.values()):
    return _read(parameters, beside)
  for layers, own in parameters.items():
    if not isinstance(own, Mapping):
      raise ValueError(f'{layers} is {own!r}, and no dictionary of a layer type, as others are')
  return {layers: _read(own, beside) for layers, own in parameters.items()}


def _read(parameters, beside):
  own = {key: value for key, value in parameters.items() if value is not None}
  for key, (words, valid) in BESIDE.items():
    value = own.get(key, beside[key])
    if value is not None and not valid(value):
      raise ValueError(f'{key} must be {words}; it is {value!r}')
  kind = own.pop('type', 'default')
  kind = own.pop('rope_type', kind)
  if kind == 'su' or (kind == 'yarn' and 'long_factor' in own):  # names that Phi-3 had for it
    kind = 'longrope'
  _check_shared({'rope_type': kind, **own})
  base = own.pop('rope_theta', beside['rope_theta'])
  if base is None:
    raise ValueError('rope_theta is missing: if it stands beside the parameters, pass it too')
  share = own.pop('partial_rotary_factor', beside['partial_rotary_factor'])
  share = 1.0 if share is None else float(share)
  if kind == 'proportional':
    own, share = {'partial_rotary_factor': share, **own}, 1.0
  scaling = {'rope_type': kind, **_lengths(kind, own, beside)}
  scaling = {key: tuple(v) if isinstance(v, list) else v for key, v in scaling.items()}
  scaling_check.check(scaling)
  return dict(base=float(base), fraction=share, scaling=scaling if scaling != PLAIN else {})


def _lengths(kind, own, beside):
  """L may follow from what stands beside, and so may the factor of YaRN and LongRoPE."""
  length, longest = 'original_max_position_embeddings', beside['max_position_embeddings']
  trained = own.get(length) or beside[length] or longest
  if kind == 'dynamic':  # which reads no other
    trained = longest or trained
  if trained and kind in ('dynamic', 'yarn', 'longrope', 'llama3'):
    own = {**own, length: trained}
  if trained and longest and kind in ('yarn', 'longrope'):
    own = {'factor': longest / trained, **own}
  return own


def _check_shared(scaling):
  """Raises ValueError, one line, for what Hugging Face's library does not have."""
  kind = scaling['rope_type']
  if kind not in TYPES:
    raise ValueError(
      f"scaling: rope_type is {kind!r}; Hugging Face's for text are {', '.join(TYPES)}"
    )
  for key in OURS:
    default = scaling_check.keys(kind).get(key)
    if scaling.get(key, default) != default:
      raise ValueError(f'scaling: Hugging Face has no {key!r} in its rope_parameters')


def write(rope):
  """`rope_parameters` of a `Rope`. (Its `dynamic` has its L from max_position_embeddings there.)

  Raises:
    ValueError: one line, for a scaling that Hugging Face's library does not have.
  """
  scaling = rope.scaling or PLAIN
  _check_shared(scaling)
  parameters = {
    key: list(v) if isinstance(v, tuple) else v for key, v in scaling.items() if key not in OURS
  }
  parameters['rope_theta'] = rope.base
  if rope.fraction != 1:
    parameters['partial_rotary_factor'] = rope.fraction
  return parameters
