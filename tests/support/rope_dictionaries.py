"""RoPE settings from configs of real models, and the expected frequencies from plain loops.

`source` names where a config is from:

  transformers   defaults of the model's class in transformers 5.24, equal to its checkpoint's
  quoted         a public repository or thread that quotes the config
  shape          keys and sizes are quoted; the long lists of numbers are invented
  memory         from memory, not checked against the file

Keys without effect on positions are left out, except those that determine a head's size.
"""

import math
from typing import NamedTuple


def rope(base, width):
  return [1 / base ** (2 * i / width) for i in range(width // 2)]


def linear(base, width, s):
  return [theta / s for theta in rope(base, width)]


def alpha(base, width, a):
  return rope(base * a ** (width / (width - 2)), width)


def dynamic(base, width, s, L, T):
  return alpha(base, width, s * T / L - (s - 1)) if T > L else rope(base, width)


def yarn(base, width, s, L, fast=32, slow=1, whole=True):
  """As in transformers: a ramp over plane indices, from beta_fast's to beta_slow's."""
  index = lambda beta: width * math.log(L / (beta * 2 * math.pi)) / (2 * math.log(base))
  low, high = index(fast), index(slow)
  if whole:
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, width - 1)
  if low == high:
    high += 0.001
  scaled = []
  for i, theta in enumerate(rope(base, width)):
    ramp = min(max((i - low) / (high - low), 0), 1)
    scaled.append(theta / s * ramp + theta * (1 - ramp))
  return scaled


def llama3(base, width, s, low, high, L):
  """By wavelength: divides all above L / low, nothing below L / high, and blends between."""
  scaled = []
  for theta in rope(base, width):
    wavelength = 2 * math.pi / theta
    if wavelength > L / low:
      scaled.append(theta / s)
    elif wavelength <= L / high:
      scaled.append(theta)
    else:
      u = (L / wavelength - low) / (high - low)
      scaled.append((1 - u) * theta / s + u * theta)
  return scaled


def longrope(base, width, divisors):
  return [theta / divisor for theta, divisor in zip(rope(base, width), divisors, strict=True)]


def proportional(base, head, p):
  turning = int(p * head // 2)
  return [theta if i < turning else 0.0 for i, theta in enumerate(rope(base, head))]


def g(s, m=1.0):
  return 1.0 if s <= 1 else 0.1 * m * math.log(s) + 1.0


class Want(NamedTuple):
  theta: list
  attention: float = 1.0
  query: float = 1.0
  temperature: tuple = ()  # the length it starts at, and beta


class Model(NamedTuple):
  source: str
  head: int  # channels of the vector that `theta` rotates, or of its head
  config: dict
  want: dict  # by layer type; '' if all layers are equal
  unused: tuple = ()  # keys that the warning lists
  length: int = 0  # number of tokens, where theta depends on it


def of(theta, *factors, **more):
  return {'': Want(theta, *factors, **more)}


def heads(number, size):
  return {'num_attention_heads': number, 'hidden_size': number * size}


def llama(factor, theta, source='quoted', size=128, **more):
  scaling = {
    'rope_type': 'llama3', 'factor': factor, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
    'original_max_position_embeddings': 8192,
  }
  config = {'head_dim': size, 'rope_theta': theta, 'rope_scaling': scaling, **more}
  return Model(source, size, config, of(llama3(theta, size, factor, 1, 4, 8192)))


def deepseek(m, source='quoted', **more):
  """V2 and V3: 64 of 192 channels are rotated, as a separate vector."""
  scaling = {
    'type': 'yarn', 'factor': 40, 'original_max_position_embeddings': 4096, 'beta_fast': 32,
    'beta_slow': 1, 'mscale': m, 'mscale_all_dim': m,
  }
  config = {
    'model_type': 'deepseek_v3', 'qk_nope_head_dim': 128, 'qk_rope_head_dim': 64,
    'max_position_embeddings': 163_840, 'rope_theta': 10_000, 'rope_scaling': scaling, **more,
  }
  return Model(source, 64, config, of(yarn(1e4, 64, 40, 4096), 1.0, g(40, m) ** 2))


def gemma3(size, scaling, **more):
  text = {
    'model_type': 'gemma3_text', 'head_dim': size, 'rope_theta': 1_000_000,
    'rope_local_base_freq': 10_000, 'rope_scaling': scaling, **more,
  }
  text = {key: value for key, value in text.items() if value != 'absent'}
  factor = scaling['factor'] if scaling else 1
  return Model('quoted', size, {'model_type': 'gemma3', 'text_config': text}, {
    'full_attention': Want(linear(1e6, size, factor)), 'sliding_attention': Want(rope(1e4, size)),
  })


HUNYUAN = {
  'alpha': 1000.0, 'factor': 1.0, 'beta_fast': 32, 'beta_slow': 1, 'mscale': 1.0,
  'mscale_all_dim': 1.0,
}
SHORT, LONG = [1 + i / 100 for i in range(48)], [1.25**i for i in range(48)]

MODELS = {
  # Llama and its kin.
  'Llama 2 7B': Model('memory', 128, {
    'model_type': 'llama', **heads(32, 128), 'max_position_embeddings': 4096, 'rope_scaling': None,
  }, of(rope(1e4, 128))),
  'Llama 3 8B': Model('memory', 128, {
    'model_type': 'llama', **heads(32, 128), 'rope_theta': 500_000.0, 'rope_scaling': None,
    'max_position_embeddings': 8192,
  }, of(rope(5e5, 128))),
  'Llama 3.3 70B': llama(8.0, 500_000.0, max_position_embeddings=131_072),
  'Llama 3.2 1B': llama(32.0, 500_000.0, size=64, max_position_embeddings=131_072),
  'Llama 4 Scout': Model('quoted', 128, {
    'model_type': 'llama4', 'text_config': {
      'model_type': 'llama4_text', 'head_dim': 128, 'rope_theta': 500_000.0, 'rope_scaling': {
        'rope_type': 'llama3', 'factor': 16.0, 'low_freq_factor': 1.0, 'high_freq_factor': 1.0,
        'original_max_position_embeddings': 8192,
      },
    },
  }, of(llama3(5e5, 128, 16, 1, 1, 8192))),
  'EXAONE 4.0 32B': llama(16.0, 1_000_000, max_position_embeddings=131_072),
  'CWM 32B': llama(16.0, 1_000_000.0, 'transformers'),
  'Apertus 8B': llama(8.0, 12_000_000.0, 'transformers'),
  'Code Llama 7B': Model('memory', 128, {
    'model_type': 'llama', **heads(32, 128), 'rope_theta': 1_000_000, 'rope_scaling': None,
  }, of(rope(1e6, 128))),
  'Vicuna 7B v1.5 16k': Model('memory', 128, {
    'model_type': 'llama', **heads(32, 128), 'rope_scaling': {'factor': 4.0, 'type': 'linear'},
    'max_position_embeddings': 4096,
  }, of(linear(1e4, 128, 4))),
  'Yarn Llama 2 7B 128k': Model('memory', 128, {
    'model_type': 'llama', **heads(32, 128), 'max_position_embeddings': 131_072, 'rope_scaling': {
      'type': 'yarn', 'factor': 32.0, 'original_max_position_embeddings': 4096, 'finetuned': True,
    },
  }, of(yarn(1e4, 128, 32, 4096), g(32)), ('finetuned',)),
  'Yarn Mistral 7B 128k': Model('memory', 128, {
    'model_type': 'mistral', **heads(32, 128), 'max_position_embeddings': 32_768,
    'rope_theta': 10_000.0, 'rope_scaling': {
      'type': 'yarn', 'factor': 16.0, 'original_max_position_embeddings': 8192, 'finetuned': True,
    },
  }, of(yarn(1e4, 128, 16, 8192), g(16)), ('finetuned',)),
  'InternLM2 7B': Model('memory', 128, {
    'model_type': 'internlm2', **heads(32, 128), 'max_position_embeddings': 32_768,
    'rope_theta': 1_000_000, 'rope_scaling': {'type': 'dynamic', 'factor': 2.0},
  }, of(dynamic(1e6, 128, 2, 32_768, 100_000)), length=100_000),
  # DeepSeek and its kin.
  'DeepSeek R1': deepseek(1.0),
  'DeepSeek V2.5': deepseek(1.0, model_type='deepseek_v2'),
  'DeepSeek V2 Lite': deepseek(0.707, model_type='deepseek_v2'),
  'Kimi K2': Model('quoted', 64, {
    'model_type': 'kimi_k2', 'qk_nope_head_dim': 128, 'qk_rope_head_dim': 64,
    'max_position_embeddings': 131_072, 'rope_theta': 50_000.0, 'rope_scaling': {
      'type': 'yarn', 'factor': 32.0, 'original_max_position_embeddings': 4096, 'beta_fast': 1.0,
      'beta_slow': 1.0, 'mscale': 1.0, 'mscale_all_dim': 1.0,
    },
  }, of(yarn(5e4, 64, 32, 4096, 1, 1), 1.0, g(32) ** 2)),
  'DeepSeek R1 0528 Qwen3 8B': Model('quoted', 128, {
    'model_type': 'qwen3', 'head_dim': 128, 'max_position_embeddings': 131_072,
    'rope_theta': 1_000_000, 'rope_scaling': {
      'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 32_768,
      'attn_factor': 0.8782488562869419,
    },
  }, of(yarn(1e6, 128, 4, 32_768), 0.8782488562869419 * g(4))),
  # Mistral's.
  'Mixtral 8x7B': Model('transformers', 128, {
    'model_type': 'mixtral', **heads(32, 128), 'rope_theta': 1e6, 'max_position_embeddings': 32_768,
  }, of(rope(1e6, 128))),
  'Ministral 3 8B': Model('transformers', 128, {
    'model_type': 'ministral3', 'head_dim': 128, 'max_position_embeddings': 262_144,
    'rope_parameters': {
      'type': 'yarn', 'rope_theta': 1_000_000.0, 'factor': 16.0,
      'original_max_position_embeddings': 16_384, 'max_position_embeddings': 262_144,
      'beta_fast': 32.0, 'beta_slow': 1.0, 'mscale_all_dim': 1.0, 'mscale': 1.0,
      'llama_4_scaling_beta': 0.1,
    },
  }, of(yarn(1e6, 128, 16, 16_384), temperature=(16_384, 0.1))),
  'Mistral 4': Model('transformers', 128, {
    'model_type': 'mistral4', 'qk_nope_head_dim': 64, 'qk_rope_head_dim': 64,
    'max_position_embeddings': 1_048_576, 'rope_parameters': {
      'type': 'yarn', 'rope_theta': 10_000.0, 'factor': 128.0,
      'original_max_position_embeddings': 8192, 'max_position_embeddings': 1_048_576,
      'beta_fast': 32.0, 'beta_slow': 1.0, 'mscale_all_dim': 1.0, 'mscale': 1.0,
      'llama_4_scaling_beta': 0.1, 'partial_rotary_factor': 0.5,
    },
  }, of(yarn(1e4, 64, 128, 8192), 1.0, g(128) ** 2, temperature=(8192, 0.1))),
  # Qwen's.
  'Qwen2.5 7B': Model('quoted', 128, {
    'model_type': 'qwen2', **heads(28, 128), 'max_position_embeddings': 32_768,
    'rope_theta': 1_000_000.0, 'rope_scaling': {
      'type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 32_768,
    },
  }, of(yarn(1e6, 128, 4, 32_768), g(4))),
  'Qwen2.5 Coder 32B, overridden': Model('quoted', 128, {
    'model_type': 'qwen2', **heads(40, 128), 'max_position_embeddings': 131_072,
    'rope_theta': 1_000_000.0, 'rope_scaling': {
      'rope_type': 'yarn', 'factor': 4.0, 'original_max_position_embeddings': 32_768,
    },
  }, of(yarn(1e6, 128, 4, 32_768), g(4))),
  'Qwen3 8B': Model('memory', 128, {
    'model_type': 'qwen3', 'head_dim': 128, 'max_position_embeddings': 40_960,
    'rope_theta': 1_000_000, 'rope_scaling': None,
  }, of(rope(1e6, 128))),
  'Qwen2-VL 7B': Model('quoted', 128, {
    'model_type': 'qwen2_vl', **heads(28, 128), 'rope_theta': 1_000_000.0,
    'rope_scaling': {'type': 'mrope', 'mrope_section': [16, 24, 24]},
  }, of(rope(1e6, 128)), ('mrope_section',)),
  'Qwen2.5-VL 3B': Model('quoted', 128, {
    'model_type': 'qwen2_5_vl', **heads(16, 128), 'text_config': {
      'model_type': 'qwen2_5_vl_text', **heads(16, 128), 'max_position_embeddings': 128_000,
      'rope_theta': 1_000_000.0, 'rope_scaling': {
        'mrope_section': [16, 24, 24], 'rope_type': 'default', 'type': 'default',
      },
    },
  }, of(rope(1e6, 128)), ('mrope_section',)),
  'Qwen3-VL 2B': Model('quoted', 128, {
    'model_type': 'qwen3_vl', 'text_config': {
      'model_type': 'qwen3_vl_text', 'head_dim': 128, 'max_position_embeddings': 262_144,
      'rope_theta': 5_000_000, 'rope_scaling': {
        'mrope_interleaved': True, 'mrope_section': [24, 20, 20], 'rope_type': 'default',
      },
    },
  }, of(rope(5e6, 128)), ('mrope_interleaved', 'mrope_section')),
  'Qwen3-VL, overridden': Model('memory', 128, {
    'model_type': 'qwen3_vl_text', 'head_dim': 128, 'max_position_embeddings': 786_432,
    'rope_theta': 5_000_000, 'rope_scaling': {
      'rope_type': 'yarn', 'factor': 3.0, 'original_max_position_embeddings': 262_144,
      'mrope_section': [24, 20, 20], 'mrope_interleaved': True,
    },
  }, of(yarn(5e6, 128, 3, 262_144), g(3)), ('mrope_section', 'mrope_interleaved')),
  'Qwen3.5 0.8B': Model('quoted', 256, {
    'model_type': 'qwen3_5', 'text_config': {
      'model_type': 'qwen3_5_text', 'head_dim': 256, 'num_attention_heads': 8, 'rope_parameters': {
        'mrope_interleaved': True, 'mrope_section': [11, 11, 10], 'partial_rotary_factor': 0.25,
        'rope_theta': 10_000_000, 'rope_type': 'default',
      },
    },
  }, of(rope(1e7, 64)), ('mrope_interleaved', 'mrope_section')),
  # Two bases in one model.
  'Gemma 3 1B': gemma3(256, None, max_position_embeddings=32_768),
  'Gemma 3 12B': gemma3(256, {'factor': 8.0, 'rope_type': 'linear'}, num_attention_heads=16),
  'Gemma 3 4B': gemma3(  # the file leaves out the class's defaults
    256, {'factor': 8.0, 'rope_type': 'linear'}, rope_theta='absent', rope_local_base_freq='absent',
    head_dim='absent',
  ),
  'Gemma 4 12B': Model('quoted', 256, {
    'model_type': 'gemma4', 'text_config': {'model_type': 'gemma4_text', 'rope_parameters': {
      'full_attention': {
        'partial_rotary_factor': 0.25, 'rope_theta': 1_000_000.0, 'rope_type': 'proportional',
      },
      'sliding_attention': {'rope_theta': 10_000.0, 'rope_type': 'default'},
    }},
  }, {
    'full_attention': Want(proportional(1e6, 256, 0.25)), 'sliding_attention': Want(rope(1e4, 256)),
  }),
  'ModernBERT base': Model('quoted', 64, {
    'model_type': 'modernbert', **heads(12, 64), 'global_rope_theta': 160_000.0,
    'local_rope_theta': 10_000.0, 'max_position_embeddings': 8192,
  }, {'full_attention': Want(rope(1.6e5, 64)), 'sliding_attention': Want(rope(1e4, 64))}),
  'OLMo 3 7B': Model('memory', 128, {
    'model_type': 'olmo3', **heads(32, 128), 'max_position_embeddings': 65_536,
    'rope_theta': 500_000, 'rope_scaling': {
      'rope_type': 'yarn', 'factor': 8.0, 'original_max_position_embeddings': 8192,
      'attention_factor': 1.2079441541679836, 'beta_fast': 32, 'beta_slow': 1,
    },
  }, {
    'full_attention': Want(yarn(5e5, 128, 8, 8192), 1.2079441541679836),
    'sliding_attention': Want(rope(5e5, 128)),
  }),
  'MiMo V2 Flash': Model('quoted', 192, {
    'model_type': 'mimo_v2_flash', 'head_dim': 192, 'partial_rotary_factor': 0.334,
    'rope_theta': 5_000_000, 'swa_rope_theta': 10_000,
  }, {'full_attention': Want(rope(5e6, 64)), 'sliding_attention': Want(rope(1e4, 64))}),
  'Laguna': Model('quoted', 128, {
    'model_type': 'laguna', 'head_dim': 128, 'max_position_embeddings': 262_144,
    'rope_parameters': {
      'full_attention': {
        'rope_theta': 500_000.0, 'rope_type': 'yarn', 'factor': 32.0,
        'original_max_position_embeddings': 8192, 'beta_slow': 1.0, 'beta_fast': 32.0,
        'attention_factor': 1.3465735902799727, 'partial_rotary_factor': 0.5,
      },
      'sliding_attention': {
        'rope_type': 'default', 'rope_theta': 10_000.0, 'partial_rotary_factor': 1.0,
      },
    },
  }, {
    'full_attention': Want(yarn(5e5, 64, 32, 8192), 1.3465735902799727),
    'sliding_attention': Want(rope(1e4, 128)),
  }),
  'ZAYA1 8B': Model('transformers', 128, {
    'model_type': 'zaya', 'head_dim': 128, 'rope_parameters': {
      'rope_type': 'default',
      'hybrid': {
        'rope_type': 'default', 'rope_theta': 5_000_000.0, 'partial_rotary_factor': 0.5,
      },
      'hybrid_sliding': {
        'rope_type': 'default', 'rope_theta': 10_000.0, 'partial_rotary_factor': 0.5,
      },
    },
  }, {'hybrid': Want(rope(5e6, 64)), 'hybrid_sliding': Want(rope(1e4, 64))}, ('rope_type',)),
  # A fixed alpha.
  'Hunyuan A13B': Model('quoted', 128, {
    'model_type': 'hunyuan_v1_moe', 'head_dim': 128, 'max_position_embeddings': 32_768,
    'rope_theta': 10_000.0, 'rope_scaling': {'type': 'dynamic', **HUNYUAN},
  }, of(alpha(1e4, 128, 1000)), ('factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim')),
  'Hunyuan Large': Model('quoted', 80, {
    'model_type': 'hunyuan', **heads(80, 80), 'max_position_embeddings': 131_072,
    'rope_theta': 10_000.0, 'rope_scaling': {'alpha': 1000.0, 'factor': 1.0, 'type': 'dynamic'},
  }, of(alpha(1e4, 80, 1000)), ('factor',)),
  'HunyuanOCR': Model('quoted', 128, {
    'model_type': 'hunyuan_vl', 'head_dim': 128, 'rope_theta': 10_000.0,
    'rope_scaling': {'type': 'xdrope', **HUNYUAN, 'xdrope_section': [16, 16, 16, 16]},
  }, of(alpha(1e4, 128, 1000)),
    ('factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim', 'xdrope_section')),
  # LongRoPE.
  'Phi 4 mini': Model('shape', 128, {
    'model_type': 'phi3', **heads(24, 128), 'max_position_embeddings': 131_072,
    'original_max_position_embeddings': 4096, 'partial_rotary_factor': 0.75,
    'rope_theta': 10_000.0,
    'rope_scaling': {'type': 'longrope', 'short_factor': SHORT, 'long_factor': LONG},
  }, of(longrope(1e4, 96, LONG), math.sqrt(1 + math.log(32) / math.log(4096))), length=4097),
  'Phi 3 mini 128k': Model('shape', 96, {
    'model_type': 'phi3', **heads(32, 96), 'max_position_embeddings': 131_072,
    'original_max_position_embeddings': 4096, 'rope_theta': 10_000.0,
    'rope_scaling': {'type': 'su', 'short_factor': SHORT, 'long_factor': LONG},
  }, of(longrope(1e4, 96, SHORT), math.sqrt(1 + math.log(32) / math.log(4096))), length=4096),
  'Phi 3.5 MoE': Model('shape', 128, {
    'model_type': 'phimoe', **heads(32, 128), 'max_position_embeddings': 131_072,
    'rope_theta': 10_000.0, 'rope_scaling': {
      'type': 'longrope', 'original_max_position_embeddings': 4096,
      'short_factor': [1.0] * 64, 'short_mscale': 1.243163121016122,
      'long_factor': [2.0] * 64, 'long_mscale': 1.243163121016122,
    },
  }, of(longrope(1e4, 128, [2.0] * 64), 1.243163121016122), length=5000),
  # A fraction of each head.
  'gpt-oss 20B': Model('transformers', 64, {
    'model_type': 'gpt_oss', 'head_dim': 64, 'max_position_embeddings': 131_072,
    'rope_theta': 150_000.0, 'rope_scaling': {
      'rope_type': 'yarn', 'factor': 32.0, 'beta_fast': 32.0, 'beta_slow': 1.0, 'truncate': False,
      'original_max_position_embeddings': 4096,
    },
  }, of(yarn(1.5e5, 64, 32, 4096, whole=False), g(32))),
  'MiniMax M1': Model('quoted', 128, {
    'model_type': 'minimax_m1', 'head_dim': 128, 'hidden_size': 6144, 'num_attention_heads': 64,
    'max_position_embeddings': 10_240_000, 'rope_theta': 10_000_000, 'rotary_dim': 64,
  }, of(rope(1e7, 64))),
  'MiniMax M2': Model('quoted', 128, {
    'model_type': 'minimax_m2', 'head_dim': 128, 'hidden_size': 3072, 'num_attention_heads': 48,
    'max_position_embeddings': 196_608, 'rope_theta': 5_000_000, 'rotary_dim': 64,
  }, of(rope(5e6, 64))),
  'MiniMax M3': Model('quoted', 128, {
    'text_config': {
      'head_dim': 128, 'rope_theta': 5_000_000, 'rotary_dim': 64, 'partial_rotary_factor': 0.5,
    },
  }, of(rope(5e6, 64))),
  'Ling flash 2.0': Model('memory', 128, {
    'model_type': 'bailing_moe', 'head_dim': 128, 'partial_rotary_factor': 0.5,
    'rope_theta': 600_000, 'rope_scaling': None,
  }, of(rope(6e5, 64))),
  'GLM 4 9B chat': Model('quoted', 128, {  # the fraction is not in the file
    'model_type': 'glm', 'head_dim': 128, 'num_attention_heads': 32,
  }, of(rope(1e4, 64))),
  'GLM 4 9B 0414': Model('quoted', 128, {
    'model_type': 'glm4', 'head_dim': 128, 'num_attention_heads': 32, 'rope_theta': 10_000.0,
    'partial_rotary_factor': 0.5, 'max_position_embeddings': 32_768,
  }, of(rope(1e4, 64))),
  'Pythia 14M': Model('quoted', 32, {
    'model_type': 'gpt_neox', **heads(4, 32), 'rotary_emb_base': 10_000, 'rotary_pct': 0.25,
    'max_position_embeddings': 2048, 'rope_scaling': None,
  }, of(rope(1e4, 8))),
  'GPT-NeoX 20B': Model('quoted', 96, {
    'model_type': 'gpt_neox', **heads(64, 96), 'rotary_emb_base': 10_000, 'rotary_pct': 0.25,
  }, of(rope(1e4, 24))),
  'GPT-J 6B': Model('transformers', 256, {
    'model_type': 'gptj', 'n_embd': 4096, 'n_head': 16, 'rotary_dim': 64,
  }, of(rope(1e4, 64))),
  'Phi 2': Model('memory', 80, {
    'model_type': 'phi', **heads(32, 80), 'partial_rotary_factor': 0.4, 'rope_theta': 10_000.0,
    'rope_scaling': None,
  }, of(rope(1e4, 32))),
  'StableLM 3B': Model('memory', 80, {
    'model_type': 'stablelm', **heads(32, 80), 'partial_rotary_factor': 0.25, 'rope_theta': 10_000,
  }, of(rope(1e4, 20))),
  'Qwen3 Next 80B': Model('memory', 256, {
    'model_type': 'qwen3_next', 'head_dim': 256, 'partial_rotary_factor': 0.25,
    'rope_theta': 10_000_000, 'rope_scaling': None,
  }, of(rope(1e7, 64))),
}
