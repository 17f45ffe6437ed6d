"""Writes RoPE, or a section `encoding` with RoPE, as the keys of a Hugging Face config.json."""

from collections.abc import Mapping
from typing import Any

from posjax.encodings.parts.scaling import frozen
from posjax.encodings.parts.scaling_check import LENGTH
from posjax.encodings.rope import Rope
from posjax.hub.rope_parameters import families
from posjax.hub.rope_parameters.reading import refuse_ours

SHARE = 'partial_rotary_factor'


def write(encoding: Rope | Mapping[str, Any], *, model_type: str | None = None) -> dict[str, Any]:
  """Returns keys of a config.json for transformers 5: `rope_parameters` and the keys they need.

  Args:
    encoding: a `Rope`, or the result of `read`.
    model_type: of the class that will read the keys; the meaning of some depends on the class.

  Raises:
    ValueError: one line, if Hugging Face's library does not support the encoding.
  """
  family, beside = families.FAMILIES.get(model_type, families.Family()), {}
  if _is_nested(encoding):
    parameters = {layers: _parameters(own, family, beside) for layers, own in encoding.items()}
  else:
    parameters = _parameters(encoding, family, beside)
  return {'rope_parameters': parameters, **beside}


def write_old(
  encoding: Rope | Mapping[str, Any], *, model_type: str | None = None
) -> dict[str, Any]:
  """Returns keys for older versions: `rope_scaling`, which may be None, and keys next to it."""
  if _is_nested(encoding):
    return _two_bases(encoding, model_type)
  beside = {}
  parameters = _parameters(encoding, families.FAMILIES.get(model_type, families.Family()), beside)
  if parameters is None:
    raise ValueError('the older form of a config does not support layers without positions')
  kind = parameters.pop('rope_type')
  beside |= {key: parameters.pop(key) for key in ('rope_theta', SHARE) if key in parameters}
  if kind == 'longrope':  # older versions read the lengths, not the factor
    longest = parameters[LENGTH] * parameters['factor']
    beside |= {LENGTH: parameters[LENGTH], 'max_position_embeddings': round(longest)}
  scaling = {'type': kind, 'rope_type': kind, **parameters} if kind != 'default' else None
  return {**beside, 'rope_scaling': scaling}


def _two_bases(encoding, model_type):
  """Returns keys as in Gemma 3: layers with a window have another base and no scaling."""
  if encoding.keys() == {families.FULL, families.LOCAL}:
    full, local = (
      write_old(encoding[layers], model_type=model_type)
      for layers in (families.FULL, families.LOCAL)
    )
    if local['rope_scaling'] is None and full.get(SHARE) == local.get(SHARE):
      return {**full, 'rope_local_base_freq': local['rope_theta']}
  raise ValueError(
    f'the older form of a config has one layer type, or {families.FULL} and {families.LOCAL}, '
    'with the same partial_rotary_factor and no scaling in the latter'
  )


def _is_nested(encoding):
  return isinstance(encoding, Mapping) and 'layers' not in encoding


def _parameters(encoding, family, beside):
  """Returns `rope_parameters` of one layer type, or None; adds the keys next to it to `beside`."""
  if not isinstance(encoding, Mapping):
    rope = {key: getattr(encoding, key) for key in ('base', 'fraction', 'scaling')}
    encoding = {'layers': ('rope',), 'rope': rope}
  layers = tuple(encoding['layers'])
  if layers == families.NO_POSITIONS:
    return None
  if layers not in (('rope',), ('temperature+rope',)):
    raise ValueError(f"Hugging Face's rope_parameters do not support {','.join(layers)}")
  rope = encoding['rope']
  scaling = _scaling(rope['scaling'], family)
  if scaling['rope_type'] == 'dynamic' and LENGTH in scaling:
    length = scaling.pop(LENGTH)
    if beside.setdefault('max_position_embeddings', length) != length:
      raise ValueError('dynamic needs one max_position_embeddings for all layers')
  parameters = {
    key: list(v) if isinstance(v, tuple) else v
    for key, v in scaling.items() if key not in families.OURS
  }
  parameters['rope_theta'] = rope['base']
  if rope['fraction'] != 1:
    parameters[SHARE] = rope['fraction']
  if 'temperature' in layers[0]:
    parameters[families.BETA] = _beta(encoding['temperature'], scaling)
  return parameters


def _scaling(scaling, family):
  """Returns the scaling with Hugging Face's names."""
  scaling = dict(frozen(scaling or {'rope_type': 'default'}))
  if scaling['rope_type'] == 'ntk' and family.alpha:
    scaling |= {'rope_type': 'dynamic', 'alpha': scaling['factor'], 'factor': 1.0}
  if scaling['rope_type'] not in families.TYPES:
    raise ValueError(
      f'scaling: rope_type is {scaling["rope_type"]!r}; Hugging Face\'s types for text are '
      f'{", ".join(families.TYPES)}'
    )
  refuse_ours(scaling)
  if scaling.get('mscale_all_dim') and not family.squares:
    raise ValueError(
      'scaling: mscale_all_dim multiplies queries only in classes such as deepseek_v3: pass the '
      'model_type'
    )
  return scaling


def _beta(temperature, scaling):
  if temperature.get('kind') != 'ministral' or temperature['length'] != scaling.get(LENGTH):
    raise ValueError(
      f"temperature: Hugging Face's rope_parameters have only 'ministral' with length = {LENGTH}"
    )
  return temperature['beta']
