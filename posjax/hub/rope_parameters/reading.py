"""Reads a dictionary of RoPE's parameters, or an entire config, as a section `encoding`."""

import warnings
from collections.abc import Mapping
from typing import Any

from posjax.encodings.parts import scaling_check
from posjax.encodings.parts.scaling import frozen, magnitude, number
from posjax.encodings.parts.scaling_check import LENGTH
from posjax.hub.rope_parameters import families
from posjax.hub.rope_parameters.families import ARGUMENTS, BESIDE, FULL, LOCAL, LOCAL_BASES

SECTIONS = ('rope_scaling', 'rope_parameters')  # transformers prefers the older one
NAMES = ('rope_type', 'type')


def read_config(config: Mapping[str, Any], **given: Any) -> dict[str, Any]:
  """Returns the section `encoding` of a config.json; of its text part, if it is multimodal.

  Arguments of `read` override the config. Other keys of the config are ignored; a warning names
  those that affect positions. If the rotated channels are a separate vector (DeepSeek), the section
  describes this vector.
  """
  if 'text_config' in config:
    return read_config(config['text_config'], **given)
  if missed := [key for key in families.NOT_READ if config.get(key)]:
    warnings.warn(f'config: ignoring {", ".join(missed)}, which affect positions', stacklevel=2)
  parameters = next((config[key] for key in SECTIONS if config.get(key)), None)
  known = {key: config[key] for key in ('model_type', *ARGUMENTS) if key in config}
  return read(parameters, **{'head_dim': _head_dim(config), **known, **given})


def _head_dim(config):
  if 'qk_rope_head_dim' in config and 'qk_nope_head_dim' in config:
    return config['qk_rope_head_dim'] + config['qk_nope_head_dim']
  width = config.get('hidden_size') or config.get('n_embd')
  heads = config.get('num_attention_heads') or config.get('n_head')
  return config.get('head_dim') or (width // heads if width and heads else None)


def read(
  parameters: Mapping[str, Any] | None, *, model_type: str | None = None,
  head_dim: int | None = None, **beside: Any,
) -> dict[str, Any]:
  """Returns RoPE's parameters as a section `encoding`; if they are nested, {layer type: section}.

  The section has `layers` and `rope`, and `temperature` if there is one. A layer type that is None
  has no positions: its `layers` are ('nope',). A warning names keys without effect.

  Args:
    parameters: `rope_parameters`, or the older `rope_scaling`, or None.
    model_type: the config's, if it is known; the meaning of some keys depends on the class.
    head_dim: channels of a head; `rotary_dim`, the number of rotated channels, needs it.
    **beside: keys of the config next to the parameters, if it has them: rope_theta,
      rope_local_base_freq, partial_rotary_factor, rotary_pct, rotary_dim, max_position_embeddings
      and the other ARGUMENTS. Keys inside the parameters override them.

  Raises:
    ValueError: one line, if a key is unknown, missing or wrong; no key is ignored silently.
  """
  parameters = {} if parameters is None else parameters
  if not isinstance(parameters, Mapping):
    raise ValueError(f'rope_parameters must be a dictionary, or None; it is {parameters!r}')
  if not parameters.keys().isdisjoint(('text_config', *SECTIONS)):
    given = {'model_type': model_type, 'head_dim': head_dim, **beside}
    return read_config(parameters, **{k: v for k, v in given.items() if v is not None})
  for key in beside:
    if key not in ARGUMENTS:
      raise ValueError(f'read has no argument {key!r}{scaling_check.nearest(key, ARGUMENTS)}')
  family = families.FAMILIES.get(model_type, families.Family(known=model_type is not None))
  beside, head_dim, unused = _named(beside), number(head_dim, whole=True), {}
  if head_dim is not None:
    _check({'head_dim': head_dim}, {'head_dim': scaling_check.COUNT})
  sections = {
    layers: {'layers': families.NO_POSITIONS}
    if own is None else _read(_named(own), beside, family, head_dim, unused)
    for layers, own in _by_layer(parameters, family.defaults | beside, unused).items()
  }
  if unused:
    said = '; '.join(f'{", ".join(keys)} ({why})' for why, keys in unused.items())
    warnings.warn(f'rope_parameters: without effect: {said}', stacklevel=2)
  return sections.get('', sections)


def _note(unused, key, why):
  """Adds the key to `unused`, {why: keys}, which becomes one warning."""
  unused[why] = list(dict.fromkeys([*unused.get(why, ()), key]))


def _named(values):
  """Returns the values that are not None, as plain numbers, each under its main name."""
  plain = {key: value for key, value in frozen(values).items() if value is not None}
  for key in [*plain]:
    name, value = families.RENAMED.get(key, key), plain.pop(key)
    if name in plain and plain[name] != value:
      raise ValueError(f'{key} is {value} and {name} {plain[name]}; they mean the same: give one')
    plain[name] = value
  return plain


def _by_layer(parameters, beside, unused):
  """Returns {layer type: its parameters, or None}; the type is '' if one holds for all layers."""
  base = next((key for key in LOCAL_BASES if key in {**beside, **parameters}), None)
  local = {'rope_theta': {**beside, **parameters}[base]} if base else {}
  own = {key: value for key, value in parameters.items() if key not in LOCAL_BASES}
  if any(isinstance(value, Mapping) for value in own.values()):
    return _nested(own, local, unused)
  if local:
    return {FULL: own, LOCAL: {**(own if LOCAL_BASES[base] else {}), **local}}
  return {'': own}


def _nested(parameters, local, unused):
  layers, shared = {}, {}
  for key, own in parameters.items():
    if isinstance(own, Mapping):
      layers[key] = own
    elif own is None:  # no positions, unless the key is an argument that is not given
      layers |= {} if key in (*ARGUMENTS, *NAMES, *scaling_check.VALUES) else {key: None}
    elif key in NAMES:
      _note(unused, key, 'each layer type has its own')
    elif key in ARGUMENTS:
      shared[key] = own
    else:
      raise ValueError(f'{key} is {own!r}; it must be a dictionary, as other keys are layer types')
  return {
    key: None if own is None else {**shared, **(local if key == LOCAL else {}), **own}
    for key, own in layers.items()
  }


def _read(own, beside, family, head_dim, unused):
  form = _form(own)
  own = {key: value for key, value in own.items() if key not in NAMES}
  for key in _without_effect(own, form):
    del own[key]
    _note(unused, key, families.INERT.get(key, f'not used by {form.name}'))
  own = {form.renamed.get(key, key): value for key, value in own.items()}
  _check(own, families.INSIDE)
  values = _checked(family, beside | {key: own.pop(key) for key in BESIDE if key in own})
  if 'rope_theta' not in values:
    raise ValueError('rope_theta is missing: if the config has it next to the parameters, pass it')
  rope = {'base': float(values['rope_theta']), 'fraction': _group_heads(values, head_dim)}
  if form.ours == 'proportional':
    own['partial_rotary_factor'] = values.get('partial_rotary_factor', rope['fraction'])
    rope['fraction'] = 1.0
  beta = own.pop(families.BETA, None)
  scaling = _scaling(form, _lengths(form.ours, own, values), family, unused)
  rope['scaling'] = {} if form.ours == 'default' else scaling
  if beta is None:
    return {'layers': ('rope',), 'rope': rope}
  if LENGTH not in scaling:
    raise ValueError(f'{families.BETA} needs a scaling with {LENGTH}')
  temperature = {'kind': 'ministral', 'length': scaling[LENGTH], 'beta': float(beta)}
  return {'layers': ('temperature+rope',), 'rope': rope, 'temperature': temperature}


def _form(own):
  """Returns the row of `families.FORMS` for the parameters, by one or both names of their type."""
  found = [_row(key, own) for key in NAMES if key in own]
  if len({row.ours for row in found}) > 1:
    scaling_check.check(own)  # raises: they contradict each other
  if found:
    return found[0]
  default = families.FORMS[0]
  if any(key in default.inert for key in own):
    scaling_check.check(own)  # raises: the type is missing
  return default


def _row(key, own):
  name = own[key]
  if name in families.GRIDS:
    raise ValueError(f'{key} is {name!r}: it is for positions on grids, which are not supported')
  for row in families.FORMS:
    if row.name == name and (not row.mark or row.mark in own):
      return row
  known = ', '.join(families.TYPES)
  raise ValueError(f"scaling: rope_type is {name!r}; Hugging Face's types for text are {known}")


def _without_effect(own, form):
  inert = {*families.INERT, *form.inert}
  inert |= {key for key, value in families.NEUTRAL.items() if own.get(key) == value}
  return [key for key in own if key in inert]


def _checked(family, given):
  """Returns the given values and the class's defaults of those that are not given, checked."""
  defaults = {
    key: value for key, value in family.defaults.items()
    if key not in families.SHARES or families.SHARES.isdisjoint(given)
  }
  values = {**defaults, **given}
  _check(values, BESIDE)
  return values


def _check(values, rules):
  for key, (words, valid) in rules.items():
    if key in values and not valid(values[key]):
      raise ValueError(f'{key} must be {words}; it is {values[key]!r}')


def _group_heads(values, head_dim):
  """Returns the rotated share of a head; as in transformers, its channels are rounded down."""
  share, width = values.get('partial_rotary_factor', 1.0), values.get('rotary_dim')
  if width is None:
    return int(head_dim * share) / head_dim if head_dim else float(share)
  if head_dim is None:
    raise ValueError('rotary_dim needs the head size: pass head_dim too')
  if 'partial_rotary_factor' in values and int(head_dim * share) != width:
    raise ValueError(
      f'rotary_dim is {width} and partial_rotary_factor {share}, of {head_dim} channels; they mean '
      'the same: give one'
    )
  return width / head_dim


def _lengths(kind, own, values):
  """Derives L, and the factor of YaRN and LongRoPE, from the keys next to the parameters."""
  longest = values.get('max_position_embeddings')
  trained = values.get(LENGTH, longest)
  if kind == 'dynamic':  # transformers reads only max_position_embeddings
    trained = longest or trained
  if trained and kind in ('dynamic', 'yarn', 'longrope', 'llama3'):
    own = {**own, LENGTH: trained}
  if trained and longest and kind in ('yarn', 'longrope'):
    own = {'factor': longest / trained, **own}
  return own


def _scaling(form, own, family, unused):
  """Returns a valid scaling with posjax's keys; other magnitude keys become one factor."""
  own, kind = dict(own), form.ours
  if kind == 'longrope' and ('short_mscale' in own or 'long_mscale' in own):
    short, long = (own.pop(key, None) for key in ('short_mscale', 'long_mscale'))
    if short != long:
      raise ValueError(f'short_mscale is {short} and long_mscale {long}: they must be equal here')
    own['attention_factor'] = short
  if kind == 'yarn' and own.get('mscale') == 1 and not own.get('mscale_all_dim'):
    own = {key: value for key, value in own.items() if not key.startswith('mscale')}  # the default
  multiplier = own.pop('attn_factor', None) if kind == 'yarn' else None
  scaling = {'rope_type': kind, **own}
  refuse_ours(scaling)
  scaling_check.check(scaling)
  squares = form.squares or family.squares
  if 'mscale_all_dim' in scaling and not squares and not family.known:
    why = 'on queries, except in classes such as deepseek_v3: pass the model_type'
    _note(unused, 'mscale_all_dim', why)
  return scaling if kind != 'yarn' else _one_factor(scaling, multiplier, squares)


def _one_factor(scaling, multiplier, squares):
  """Returns YaRN with `attention_factor` in place of the mscale keys and of vLLM's `attn_factor`.

  The mscale keys stay if the class also multiplies queries by g(mscale_all_dim)^2. `attn_factor` is
  vLLM's multiplier of YaRN's own factor.
  """
  m, other = scaling.get('mscale', 0), scaling.get('mscale_all_dim', 0)
  if multiplier is None and (squares or not m):
    return scaling
  if multiplier is not None and 'attention_factor' in scaling:
    raise ValueError('attn_factor multiplies the factor that attention_factor replaces: give one')
  own = magnitude(scaling['factor'], m or 1) / magnitude(scaling['factor'], other)
  factor = scaling.get('attention_factor', own * (1 if multiplier is None else multiplier))
  kept = {key: v for key, v in scaling.items() if squares or not key.startswith('mscale')}
  return {**kept, 'attention_factor': factor}


def refuse_ours(scaling: Mapping[str, Any]) -> None:
  """Raises ValueError, one line, for keys that only posjax has."""
  for key in families.OURS:
    default = scaling_check.keys(scaling['rope_type']).get(key)
    if scaling.get(key, default) != default:
      raise ValueError(f'scaling: Hugging Face has no {key!r} in its rope_parameters')
