"""Tables of the keys in Hugging Face configs: their meaning by RoPE type and by model class.

A new family is a new row here. Facts about classes are from transformers 5.24.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from posjax.encodings.parts import scaling_check
from posjax.encodings.parts.scaling_check import LENGTH

NONE = MappingProxyType({})

FULL, LOCAL = 'full_attention', 'sliding_attention'
BETA = 'llama_4_scaling_beta'
NO_POSITIONS = ('nope',)

# Keys that a config may have next to RoPE's parameters or among them, and their valid values.
BESIDE = {
  'rope_theta': scaling_check.POSITIVE,
  'partial_rotary_factor': scaling_check.VALUES['partial_rotary_factor'],
  'rotary_dim': scaling_check.COUNT,
  'max_position_embeddings': scaling_check.VALUES[LENGTH],
  LENGTH: scaling_check.VALUES[LENGTH],
}
# Valid values of keys that only `read` finds among RoPE's parameters.
INSIDE = {'attn_factor': scaling_check.POSITIVE, BETA: scaling_check.NOT_NEGATIVE}
# Other names of the keys above.
RENAMED = {
  'rotary_emb_base': 'rope_theta',
  'global_rope_theta': 'rope_theta',
  'rotary_pct': 'partial_rotary_factor',
}
# Keys with a separate base for layers with a window: are these scaled like the other layers?
LOCAL_BASES = {'rope_local_base_freq': False, 'swa_rope_theta': False, 'local_rope_theta': True}
ARGUMENTS = (*BESIDE, *RENAMED, *LOCAL_BASES)
SHARES = {'partial_rotary_factor', 'rotary_dim'}  # two ways to set one share
# Keys of a config that set positions or the scale of queries, but are not read.
NOT_READ = (
  'no_rope_layers', 'no_rope_layer_interval', 'layer_rope_theta', 'compress_rope_theta',
  'attn_temperature_tuning', 'partial_rotary_factors', 'rope_scaling_layers',
)
# Keys without effect in all types, and the reason.
INERT = {
  'mrope_section': 'in text all axes are equal',
  'mrope_interleaved': 'in text all axes are equal',
  'interleaved': 'in text all axes are equal',
  'xdrope_section': 'in text all axes are equal',
  'finetuned': 'only a remark',
}
# Keys without effect at this value.
NEUTRAL = {'extrapolation_factor': 1}
# Hugging Face's types that can be read and written, and two keys that only posjax has.
TYPES = ('default', 'linear', 'dynamic', 'yarn', 'longrope', 'llama3', 'proportional')
OURS = ('ramp', 'resonance')
# Types for grids of positions, as in images, which `Rope` does not support.
GRIDS = ('axial', 'mllama4')


class Form(NamedTuple):
  """How a type of Hugging Face's is read."""

  name: str  # Hugging Face's
  ours: str
  mark: str = ''  # a key that must be present for this row to apply
  renamed: Mapping = NONE  # {Hugging Face's key: posjax's}
  inert: tuple = ()  # keys that the type does not use
  squares: bool = False  # as in `Family`


# `alpha` does not depend on the length; HunYuan's classes read no other key.
_ALPHA = dict(
  ours='ntk', mark='alpha', renamed={'alpha': 'factor'},
  inert=('factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim', LENGTH),
)
_LEFTOVERS = (
  *(key for key in scaling_check.VALUES if key not in OURS and key not in BESIDE),
  'alpha', 'attn_factor', 'short_mscale', 'long_mscale', LENGTH,
)
# The first row that matches applies.
FORMS = (
  Form('default', 'default', inert=_LEFTOVERS),
  Form('mrope', 'default', inert=_LEFTOVERS),  # Qwen2-VL
  Form('linear', 'linear', inert=(LENGTH,)),
  Form('dynamic', **_ALPHA),  # HunYuan
  Form('xdrope', **_ALPHA),  # HunYuan-OCR
  Form('dynamic', 'dynamic'),
  Form('yarn', 'longrope', mark='long_factor'),  # Phi-3's first two names of longrope
  Form('su', 'longrope'),
  Form('longrope', 'longrope'),
  Form('yarn', 'yarn'),
  Form('deepseek_yarn', 'yarn', squares=True),  # Sarvam
  Form('llama3', 'llama3'),
  Form('proportional', 'proportional'),
)


class Family(NamedTuple):
  """How the class of a model interprets RoPE's parameters."""

  known: bool = True  # False: no model_type was given
  squares: bool = False  # attention multiplies queries by g(mscale_all_dim)^2, see scaling.yarn
  alpha: bool = False  # its `dynamic` has an `alpha`
  defaults: Mapping = NONE  # values of the keys that a config omits


_THETA = {'rope_theta': 10_000.0}
_HALF = {'partial_rotary_factor': 0.5, **_THETA}
_QUARTER = {'partial_rotary_factor': 0.25, **_THETA}
# By `model_type`.
FAMILIES = {
  **dict.fromkeys((
    'axk1', 'axk2', 'bailing_hybrid', 'deepseek_v2', 'deepseek_v3', 'deepseek_v32',
    'glm4_moe_lite', 'glm_moe_dsa', 'hy_v4', 'kimi_k2', 'longcat_flash', 'minicpm3', 'mistral4',
    'mistral_large4_text', 'youtu',
  ), Family(squares=True)),
  **dict.fromkeys(
    ('hunyuan', 'hunyuan_v1_dense', 'hunyuan_v1_moe', 'hunyuan_vl', 'hunyuan_vl_text'),
    Family(alpha=True),
  ),
  **dict.fromkeys(
    ('gemma', 'gemma2', 'llama', 'mistral', 'phi3', 'qwen2'), Family(defaults=_THETA)
  ),
  **dict.fromkeys(
    ('bamba', 'glm', 'glm4', 'glm4_moe', 'nemotron', 'persimmon', 'phi', 'recurrent_gemma'),
    Family(defaults=_HALF),
  ),
  **dict.fromkeys(
    ('gpt_neox', 'qwen3_5_text', 'qwen3_next', 'stablelm'), Family(defaults=_QUARTER)
  ),
  **dict.fromkeys(('codegen', 'gptj'), Family(defaults={'rotary_dim': 64, **_THETA})),
  **dict.fromkeys(
    ('gemma3_text', 'gemma3n_text'),
    Family(defaults={'rope_theta': 1e6, 'rope_local_base_freq': 1e4}),
  ),
  'olmo3': Family(defaults={'rope_theta': 5e5, 'rope_local_base_freq': 5e5}),
  'modernbert': Family(defaults={'rope_theta': 160_000.0, 'local_rope_theta': 1e4}),
}
