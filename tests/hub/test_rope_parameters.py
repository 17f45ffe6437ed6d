"""RoPE's parameters in Hugging Face configs: real ones against loops, round trips, mistakes."""

import json
import math
import warnings

import numpy as np
import pytest

from posjax.dims import Dims
from posjax.encodings import build
from posjax.encodings.parts.rotation import frequencies
from posjax.encodings.rope import Rope
from posjax.encodings.temperature import Temperature
from posjax.hub.rope_parameters import read, read_config, write, write_old
from tests.encodings.test_oracles import close
from tests.encodings.test_scaling import DEEPSEEK, DYNAMIC, LLAMA3, LONG, SMALL, YARN, of_head, same
from tests.support.rope_dictionaries import MODELS, g

pytestmark = [
  pytest.mark.usefixtures('float64'),
  pytest.mark.filterwarnings('ignore:scaling. .* is close to linear'),
]
PLAIN = {'base': 1e4, 'fraction': 1.0, 'scaling': {}}


def rope_of(**more):
  return {'layers': ('rope',), 'rope': {**PLAIN, **more}}


def said(function, *args, **more):
  """Returns the call's result and its warnings."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    result = function(*args, **more)
  return result, [str(warning.message) for warning in caught]


def quiet(function, *args, **more):
  result, lines = said(function, *args, **more)
  assert not lines
  return result


# Real dictionaries.


@pytest.mark.parametrize('name', MODELS)
def test_a_real_config(name):
  model = MODELS[name]
  sections, lines = said(read_config, json.loads(json.dumps(model.config)))
  assert [named(line) for line in lines] == [model.unused] * bool(model.unused)
  for layers, want in model.want.items():
    section = sections[layers] if layers else sections
    (encoding,) = build(Dims(N=2, K=1, H=model.head), **section)
    rope, temperature = (*encoding.parts[::-1], None)[:2] if want.temperature else (encoding, None)
    theta, attention, query = rope.scaled(model.length)
    close(theta, np.array(want.theta), 1e-12, 0)
    same(attention, want.attention)
    same(query, want.query)
    length, beta = want.temperature or (1, 0)
    for p in (0, length - 1, length, 5 * length):
      factor = 1 + beta * math.log(1 + p // length)
      same(temperature.at(np.float64(p)) if temperature else factor, factor)
  assert model.want.keys() == ({''} if 'layers' in sections else sections.keys())


def named(line):
  """Returns the keys that a warning lists."""
  assert line.startswith('rope_parameters: without effect: ') and '\n' not in line
  groups = line.removeprefix('rope_parameters: without effect: ').split('; ')
  return tuple(key for group in groups for key in group.partition(' (')[0].split(', '))


def test_enough_models():
  checked = [model for model in MODELS.values() if model.source in ('transformers', 'quoted')]
  assert len(checked) >= 40 and len(MODELS) >= 55


@pytest.mark.parametrize('name', MODELS)
def test_a_real_config_survives_a_round_trip(name):
  """Both written forms contain everything that posjax uses and nothing that a reader ignores."""
  config = MODELS[name].config
  config = config.get('text_config', config)
  own = {key: config[key] for key in ('model_type', 'head_dim') if key in config}
  family = {key: config[key] for key in ('model_type',) if key in config}
  sections = said(read_config, config)[0]
  forms = [write(sections, **family)]
  if name not in ('Gemma 4 12B', 'Laguna', 'ZAYA1 8B'):  # other fractions in layers with a window
    forms.append(write_old(sections, **family))
  for form in forms:
    back, lines = said(read_config, {**json.loads(json.dumps(form)), **own})
    assert back == sections
    assert not lines or (name.startswith('Hunyuan') and [*map(named, lines)] == [('factor',)])


# The reports, as numbers.


def test_llama_4_scout_is_a_step():
  config = MODELS['Llama 4 Scout'].config
  rope = of_head(128, **quiet(read_config, config)['rope'])
  plain, theta = frequencies(128, 5e5), rope.scaled().theta
  assert (theta[:35] == plain[:35]).all() and (theta[35:] == plain[35:] / 16).all()
  same([plain[35], theta[35], theta[63]], [7.644970e-4, 4.778106e-5, 1.534463e-7], 1e-6)


def test_attn_factor_multiplies():
  section = quiet(read_config, MODELS['DeepSeek R1 0528 Qwen3 8B'].config)
  same(section['rope']['scaling']['attention_factor'], 1.0, 1e-9)
  half = quiet(read, {**YARN, 'attn_factor': 0.5}, rope_theta=1e4)['rope']
  same(half['scaling']['attention_factor'], 0.5 * 1.2772588722, 1e-10)
  squared = {**DEEPSEEK, 'type': 'deepseek_yarn', 'mscale': 0.5, 'mscale_all_dim': 1.0}
  del squared['rope_type']
  rope = quiet(read, {**squared, 'attn_factor': 2}, rope_theta=1e4)['rope']
  scaled = of_head(64, **rope).scaled()
  same([scaled.attention_factor, scaled.query_factor], [2 * g(40, 0.5) / g(40), g(40) ** 2])


def test_alpha_is_another_base():
  rope = of_head(128, **said(read_config, MODELS['Hunyuan A13B'].config)[0]['rope'])
  assert rope.depends_on_capacity == '' and rope.scaling['rope_type'] == 'ntk'
  same(rope.scaled().theta, frequencies(128, 11_158_839.93), 1e-9)
  same(rope.scaled().theta[-1], 1.154782e-7, 1e-6)


MINISTRAL = MODELS['Ministral 3 8B'].config['rope_parameters']


def test_only_known_classes_square_mscale():
  """Only known classes square mscale; without a model_type the reader warns."""
  bare = {key: value for key, value in MINISTRAL.items() if key != 'llama_4_scaling_beta'}
  for parameters in (MINISTRAL, bare):
    section, lines = said(read, parameters)
    assert of_head(128, **section['rope']).scaled()[1:] == (1.0, 1.0)
    assert [named(line) for line in lines] == [('mscale_all_dim',)]
    assert 'pass the model_type' in lines[0]
    assert quiet(read, parameters, model_type='ministral3') == section
  section = quiet(read, bare, model_type='deepseek_v3')
  query = of_head(128, **section['rope']).scaled().query_factor
  same(query, 1.631390, 1e-6)
  assert quiet(read, {**bare, 'type': 'deepseek_yarn'}) == section


def test_the_temperature_of_ministral():
  section = quiet(read, MINISTRAL, model_type='ministral3')
  assert section['layers'] == ('temperature+rope',)
  temperature = Temperature(**section['temperature'])
  positions = np.array([0.0, 16_383, 16_384, 32_768, 100_000])
  want = 1 + 0.1 * np.log(1 + np.floor(positions / 16_384))
  same(temperature.at(positions), want)


@pytest.mark.parametrize('mscale, want', [
  ({'mscale': 1.0}, g(16)), ({'mscale': 1, 'mscale_all_dim': 0.0}, g(16)),
  ({'mscale': 0.0, 'mscale_all_dim': 0}, g(16)),
  ({'mscale': 0.5, 'mscale_all_dim': 2}, g(16, 0.5) / g(16, 2)),
  ({'mscale': 0.5, 'mscale_all_dim': 2, 'attention_factor': 1.5}, 1.5),
])
def test_the_two_mscale_are_one_factor(mscale, want):
  rope = quiet(read, {**YARN, **mscale}, rope_theta=1e4, model_type='mistral')['rope']
  scaled = of_head(64, **rope).scaled()
  same(scaled.attention_factor, want)
  assert scaled.query_factor == 1


# Keys next to the dictionary.


@pytest.mark.parametrize('name', ['partial_rotary_factor', 'rotary_pct'])
def test_a_fraction_of_each_head(name):
  for inside, beside in (({name: 0.25}, {}), ({}, {name: 0.25}), ({name: 0.25}, {name: 0.5})):
    assert quiet(read, inside, rope_theta=1e4, **beside) == rope_of(fraction=0.25)


def test_rotary_dim_is_of_the_head_size():
  want = rope_of(fraction=0.5)
  for value in (64, '64', 64.0, np.int64(64)):
    assert quiet(read, None, rope_theta=1e4, rotary_dim=value, head_dim=128) == want
    assert quiet(read, {'rotary_dim': value}, rope_theta=1e4, head_dim=np.int32(128)) == want
  assert quiet(read, {'rotary_dim': None}, rope_theta=1e4, head_dim=128) == rope_of()
  both = dict(rotary_dim=64, partial_rotary_factor=0.5, head_dim=128)
  assert quiet(read, None, rope_theta=1e4, **both) == want


@pytest.mark.parametrize('sizes', [
  {'head_dim': 192, 'hidden_size': 64, 'num_attention_heads': 4},
  {'hidden_size': 768, 'num_attention_heads': 4}, {'n_embd': 768, 'n_head': 4},
  {'qk_nope_head_dim': 128, 'qk_rope_head_dim': 64, 'hidden_size': 64, 'num_attention_heads': 4},
])
def test_the_head_size_of_a_config(sizes):
  config = {'rope_theta': 1e4, 'rotary_dim': 64, **sizes}
  assert quiet(read_config, config) == rope_of(fraction=64 / 192)


def test_other_names_of_the_base():
  for name in ('rope_theta', 'rotary_emb_base', 'global_rope_theta'):
    assert quiet(read, None, **{name: 25_000}) == rope_of(base=25_000.0)
    assert quiet(read_config, {name: '25e3', 'model_type': 'gpt_neox', 'rotary_pct': 1}) == rope_of(
      base=25_000.0
    )


def test_a_fraction_is_rounded_down_to_channels():
  for share, size, channels in ((0.334, 192, 64), (0.35, 128, 44)):  # of 64.1 and 44.8
    rope = quiet(read, None, rope_theta=1e4, partial_rotary_factor=share, head_dim=size)['rope']
    assert rope['fraction'] == channels / size
  assert quiet(read, None, rope_theta=1e4, partial_rotary_factor=0.334) == rope_of(fraction=0.334)


@pytest.mark.parametrize('model_type, fraction', [
  ('glm', 0.5), ('phi', 0.5), ('gpt_neox', 0.25), ('stablelm', 0.25), ('gptj', 0.25), ('llama', 1),
])
def test_missing_keys_have_the_defaults_of_the_class(model_type, fraction):
  got = quiet(read, None, model_type=model_type, head_dim=256)
  assert got == rope_of(fraction=fraction)
  given = dict(model_type=model_type, head_dim=256, rope_theta=100)
  want = rope_of(base=100, fraction=0.125)
  assert quiet(read, None, **given, partial_rotary_factor=0.125) == want
  assert quiet(read, {'rotary_dim': 32}, **given) == want


def test_a_base_of_layers_with_a_window():
  linear = {'rope_type': 'linear', 'factor': 8.0}
  want = {
    'full_attention': rope_of(base=1e6, scaling=linear),
    'sliding_attention': rope_of(base=5e3),
  }
  bases = dict(rope_theta=1e6, rope_local_base_freq='5e3')
  assert quiet(read, linear, **bases) == want
  assert quiet(read, {**linear, **bases}) == want
  assert quiet(read, linear, rope_theta=1e6, swa_rope_theta=5e3) == want
  scaled = quiet(read, linear, global_rope_theta=1e6, local_rope_theta=5e3)
  assert scaled == {**want, 'sliding_attention': rope_of(base=5e3, scaling=linear)}
  nested = {'full_attention': {**linear, 'rope_theta': 1e6}, 'sliding_attention': {}}
  assert quiet(read, nested, rope_local_base_freq=5e3) == want
  assert quiet(read, {**nested, 'rope_theta': 7}, rope_local_base_freq=5e3) == want


def test_lengths_next_to_the_dictionary_are_read():
  lengths = dict(max_position_embeddings=64, original_max_position_embeddings=16)
  for name in ('su', 'yarn', 'longrope'):  # the newest of Phi-3's names, and two older ones
    for given, factor in (({}, 4.0), ({'factor': 2.0}, 2.0)):
      long = {'type': name, 'short_factor': [1.0, 1.1], 'long_factor': [2.0, 2.5], **given}
      assert quiet(read, long, rope_theta=1e4, **lengths)['rope']['scaling'] == {
        'rope_type': 'longrope', 'short_factor': (1.0, 1.1), 'long_factor': (2.0, 2.5),
        'factor': factor, 'original_max_position_embeddings': 16,
      }
  # For dynamic, the length is always max_position_embeddings of the config.
  given = {'rope_type': 'dynamic', 'factor': 2.0, 'original_max_position_embeddings': 99}
  assert read(given, rope_theta=1e4, max_position_embeddings=2048)['rope']['scaling'] == DYNAMIC


# Dictionaries in dictionaries.


def test_a_dictionary_for_each_type_of_layer():
  parameters = {
    'sliding_attention': {'rope_type': 'default', 'rope_theta': 1e4},
    'full_attention': {'rope_type': 'linear', 'rope_theta': 1e6, 'factor': 8.0},
    'linear_attention': None,
  }
  got = quiet(read, {**parameters, 'factor': None, 'type': None, 'rope_theta': None})
  assert got == {
    'sliding_attention': rope_of(),
    'full_attention': rope_of(base=1e6, scaling={'rope_type': 'linear', 'factor': 8.0}),
    'linear_attention': {'layers': ('nope',)},
  }
  assert write(got) == {'rope_parameters': parameters}
  (nope,) = build(Dims(N=1, K=1, H=4), **got['linear_attention'])
  assert type(nope).__name__ == 'Nope'


def test_keys_next_to_layer_types():
  nested = {'full_attention': {}, 'sliding_attention': {'rope_theta': 1e6}}
  want = {'full_attention': rope_of(), 'sliding_attention': rope_of(base=1e6)}
  assert quiet(read, {**nested, 'rope_theta': 1e4, 'partial_rotary_factor': None}) == want
  got, lines = said(read, {**nested, 'rope_type': 'default', 'rope_theta': 1e4})
  assert got == want and [named(line) for line in lines] == [('rope_type',)]


def test_a_complete_config():
  config = {
    'model_type': 'llama', 'hidden_size': 64, 'num_attention_heads': 4, 'vocab_size': 9,
    'rope_scaling': {'type': 'linear', 'factor': 2}, 'rope_theta': 500, 'rotary_dim': 8,
  }
  want = rope_of(base=500.0, fraction=0.5, scaling={'rope_type': 'linear', 'factor': 2})
  for given in (config, {'text_config': config}, {'a': 1, 'text_config': {'text_config': config}}):
    assert quiet(read_config, given) == quiet(read, given) == want
  assert quiet(read_config, config, rope_theta=7)['rope']['base'] == 7
  assert quiet(read, {'text_config': config}, rope_theta=7)['rope']['base'] == 7
  # The older key wins, as in transformers; without either key this is RoPE.
  both = {**config, 'rope_parameters': {'rope_type': 'linear', 'factor': 3}}
  assert quiet(read_config, both) == want
  del config['rope_scaling']
  assert quiet(read_config, config) == {**want, 'rope': {**want['rope'], 'scaling': {}}}


def test_unread_keys_that_affect_positions_are_named():
  config = {'model_type': 'smollm3', 'rope_theta': 2e6, 'no_rope_layers': [1, 1, 1, 0]}
  got, lines = said(read_config, config)
  assert got == rope_of(base=2e6)
  assert lines == ['config: ignoring no_rope_layers, which affect positions']


# Names, numbers and unused keys.


@pytest.mark.parametrize('parameters', [
  {'type': 'yarn'}, {'rope_type': 'yarn'}, {'type': 'yarn', 'rope_type': 'yarn'},
  {'type': 'deepseek_yarn', 'rope_type': 'yarn'},
])
def test_type_is_rope_type(parameters):
  own = {key: value for key, value in YARN.items() if key != 'rope_type'}
  assert quiet(read, {**own, **parameters}, rope_theta=1e4) == rope_of(scaling=YARN)


@pytest.mark.parametrize('kind', [int, str, float, np.int32, np.int64, np.float32, np.float64])
def test_numbers_of_any_kind(kind):
  parameters = {
    'rope_type': 'yarn', 'factor': kind(16), 'original_max_position_embeddings': kind(4096),
    'beta_fast': kind(32), 'rope_theta': kind(10_000), 'partial_rotary_factor': kind(1),
  }
  got = quiet(read, parameters)
  assert got == rope_of(scaling={**YARN, 'beta_fast': 32})
  plain = [*got['rope']['scaling'].values(), *[got['rope'][key] for key in ('base', 'fraction')]]
  assert {type(value) for value in plain} <= {int, float, str}
  assert type(got['rope']['scaling']['original_max_position_embeddings']) is int
  json.dumps(got)


def test_lists_of_numbers_of_any_kind():
  own = {**LONG, 'rope_theta': 1e4}
  for kind in (list, tuple, np.array, lambda x: [*map(str, x)], lambda x: [*map(np.float64, x)]):
    given = {key: kind(own[key]) for key in ('short_factor', 'long_factor')}
    got = quiet(read, {**own, **given})
    assert got == rope_of(scaling=LONG)
    assert all(type(x) is float for x in got['rope']['scaling']['long_factor'])
    hash(Rope(**got['rope']))


@pytest.mark.parametrize('kind', ['default', 'mrope'])
def test_unused_keys_change_nothing(kind):
  own = {**SMALL['yarn'], **SMALL['longrope'], **LLAMA3, 'rope_type': kind, 'factor': 1.0}
  got, lines = said(read, {**own, 'attn_factor': 1, 'alpha': 2}, rope_theta=1e4)
  assert got == rope_of()
  assert [{*named(line)} for line in lines] == [{*own, 'attn_factor', 'alpha'} - {'rope_type'}]
  got, lines = said(read, {'rope_type': kind, 'factor': 1.0}, rope_theta=1e4)
  assert got == rope_of()
  assert lines == [f'rope_parameters: without effect: factor (not used by {kind})']


def test_keys_that_change_nothing_at_one_value():
  got, lines = said(read, {**YARN, 'extrapolation_factor': 1.0}, rope_theta=1e4)
  assert got == rope_of(scaling=YARN) and [named(x) for x in lines] == [('extrapolation_factor',)]
  with pytest.raises(ValueError, match="yarn has no 'extrapolation_factor'"):
    read({**YARN, 'extrapolation_factor': 0.5}, rope_theta=1e4)


def test_no_parameters_mean_plain_rope():
  for parameters in (None, {}, {'rope_type': 'default'}, {'rope_type': None}, {'type': 'default'}):
    assert quiet(read, parameters, rope_theta=1e4) == rope_of()


# Round trips.

PARAMETERS = [
  {'rope_type': 'default', 'rope_theta': 1e6},
  {'rope_type': 'default', 'rope_theta': 1e6, 'partial_rotary_factor': 0.25},
  {'rope_type': 'linear', 'rope_theta': 1e4, 'factor': 2.5},
  {
    **YARN, 'rope_theta': 1e4, 'beta_fast': 16, 'beta_slow': 2, 'truncate': False,
    'mscale': 1.0, 'mscale_all_dim': 1.0, 'attention_factor': 1.0,
  },
  {**YARN, 'rope_theta': 1e4, 'llama_4_scaling_beta': 0.1},
  {**LONG, 'rope_theta': 1e4, 'short_factor': [1.0, 2.0], 'long_factor': [3.0, 4.0]},
  {**LLAMA3, 'rope_theta': 5e5},
  {'rope_type': 'proportional', 'rope_theta': 1e6, 'partial_rotary_factor': 0.25},
  {'rope_type': 'proportional', 'rope_theta': 1e6, 'partial_rotary_factor': 0.5, 'factor': 2.0},
]


@pytest.mark.parametrize('parameters', PARAMETERS, ids=lambda p: p['rope_type'])
def test_parameters_survive_a_round_trip(parameters):
  own = dict(model_type='deepseek_v3')
  section = quiet(read, json.loads(json.dumps(parameters)), **own)
  assert write(section, **own) == {'rope_parameters': parameters}
  if 'temperature' not in section:
    assert write(Rope(**section['rope'], layout='interleaved'), **own) == write(section, **own)


OLD = [
  (rope_of(base=5e5, fraction=0.5),
   {'rope_theta': 5e5, 'partial_rotary_factor': 0.5, 'rope_scaling': None}),
  (rope_of(scaling=DYNAMIC), {
    'rope_theta': 1e4, 'max_position_embeddings': 2048,
    'rope_scaling': {'type': 'dynamic', 'rope_type': 'dynamic', 'factor': 2.0},
  }),
  (rope_of(scaling=YARN), {'rope_theta': 1e4, 'rope_scaling': {'type': 'yarn', **YARN}}),
  (rope_of(scaling=LONG), {
    'rope_theta': 1e4, 'original_max_position_embeddings': 16, 'max_position_embeddings': 64,
    'rope_scaling': {
      'type': 'longrope', **LONG, 'short_factor': [1.0, 1.1, 1.2, 1.3],
      'long_factor': [1.0, 2.5, 3.0, 4.5],
    },
  }),
  ({'full_attention': rope_of(base=1e6, scaling=LLAMA3), 'sliding_attention': rope_of()}, {
    'rope_theta': 1e6, 'rope_local_base_freq': 1e4, 'rope_scaling': {'type': 'llama3', **LLAMA3},
  }),
]


@pytest.mark.parametrize('section, config', OLD)
def test_the_older_form(section, config):
  assert write_old(section) == config
  assert read_config(json.loads(json.dumps(config))) == section


def test_dynamic_takes_its_length_from_the_config():
  rope = Rope(scaling=DYNAMIC)
  want = {'rope_type': 'dynamic', 'factor': 2.0, 'rope_theta': 1e4}
  assert write(rope) == {'rope_parameters': want, 'max_position_embeddings': 2048}
  assert read_config(write(rope)) == rope_of(scaling=DYNAMIC)
  other = rope_of(scaling={**DYNAMIC, 'original_max_position_embeddings': 9})
  with pytest.raises(ValueError, match='one max_position_embeddings for all layers'):
    write({'a': rope_of(scaling=DYNAMIC), 'b': other})


def test_alpha_survives_a_round_trip():
  section = rope_of(scaling={'rope_type': 'ntk', 'factor': 1000.0})
  config = write(section, model_type='hunyuan_v1_dense')
  assert config['rope_parameters'] == {
    'rope_type': 'dynamic', 'factor': 1.0, 'alpha': 1000.0, 'rope_theta': 1e4
  }
  assert said(read_config, config)[0] == section


# Mistakes.


@pytest.mark.parametrize('parameters, line', [
  ({'rope_type': 'linear', 'factor': 2.0}, 'rope_theta is missing'),
  ({**YARN, 'rope_theta': 1e4, 'attn_facto': 1.0}, "did you mean 'attention_factor'?"),
  ({'rope_type': 'linear', 'rope_theta': 1e4}, 'linear needs factor'),
  ({'factor': 4.0, 'rope_theta': 1e4}, 'scaling: rope_type is missing; valid: default, linear'),
  ({'full_attention': {'factor': 4.0, 'rope_theta': 1e4}}, 'scaling: rope_type is missing'),
  ({'type': 'linear', 'rope_type': 'yarn', 'rope_theta': 1e4, 'factor': 4.0},
   "type is 'linear' and rope_type 'yarn'"),
  ({'rope_type': 'axial', 'rope_theta': 1e4}, "rope_type is 'axial': it is for positions on grids"),
  ({'rope_type': 'ntk', 'rope_theta': 1e4, 'factor': 2.0},
   "rope_type is 'ntk'; Hugging Face's types for text are default, linear, dynamic, yarn"),
  ({'type': 'telechat3-yarn', 'rope_theta': 1e4, 'factor': 2.0}, "rope_type is 'telechat3-yarn'"),
  ({'rope_type': 3, 'rope_theta': 1e4}, 'rope_type is 3'),
  ({**YARN, 'rope_theta': 1e4, 'ramp': 'paper'}, "Hugging Face has no 'ramp'"),
  ({'rope_type': 'default', 'rope_theta': 1e4, 'resonance': True}, "has no 'resonance'"),
  ('yarn', "rope_parameters must be a dictionary, or None; it is 'yarn'"),
  ([], 'rope_parameters must be a dictionary, or None; it is []'),
  ({'rope_theta': 'x'}, "rope_theta must be a positive number; it is 'x'"),
  ({'rope_theta': True}, 'rope_theta must be a positive number; it is True'),
  ({'rope_theta': 'nan'}, 'rope_theta must be a positive number; it is nan'),
  ({'rope_theta': math.inf}, 'rope_theta must be a positive number; it is inf'),
  ({'rope_theta': 1e4, 'partial_rotary_factor': 'x'},
   "partial_rotary_factor must be a number from 0 to 1; it is 'x'"),
  ({'rope_theta': 1e4, 'rotary_dim': 64}, 'rotary_dim needs the head size: pass head_dim'),
  ({'rope_theta': 1e4, 'rotary_dim': 0}, 'rotary_dim must be an integer of at least 1; it is 0'),
  ({'rope_theta': 1e4, 'partial_rotary_factor': 0.5, 'rotary_pct': 0.25},
   'rotary_pct is 0.25 and partial_rotary_factor 0.5; they mean the same: give one'),
  ({'rope_type': 'default', 'rope_theta': 1e4, 'section': [8]}, "default has no 'section'"),
  ({'full_attention': {'rope_theta': 1e4}, 'factor': 8.0}, 'factor is 8.0; it must be a dict'),
  ({**YARN, 'rope_theta': 1e4, 'mscale': 0.5}, 'mscale and mscale_all_dim go together'),
  ({**YARN, 'rope_theta': 1e4, 'mscale_all_dim': 1.0}, 'mscale and mscale_all_dim go together'),
  ({**YARN, 'rope_theta': 1e4, 'attn_factor': 1.0, 'attention_factor': 1.0}, ': give one'),
  ({**YARN, 'rope_theta': 1e4, 'attn_factor': 'x'}, "attn_factor must be a positive number; it is"),
  ({**LLAMA3, 'rope_theta': 1e4, 'attn_factor': 1.0}, "llama3 has no 'attn_factor'"),
  ({**LONG, 'rope_theta': 1e4, 'short_mscale': 1.1, 'long_mscale': 1.2}, 'they must be equal here'),
  ({**LONG, 'rope_theta': 1e4, 'short_mscale': 1.1}, 'short_mscale is 1.1 and long_mscale None'),
  ({'rope_theta': 1e4, 'llama_4_scaling_beta': 0.1}, 'llama_4_scaling_beta needs a scaling with'),
  ({**YARN, 'rope_theta': 1e4, 'llama_4_scaling_beta': 'x'},
   "llama_4_scaling_beta must be a number of at least 0; it is 'x'"),
])
def test_parameters_that_are_refused(parameters, line):
  with pytest.raises(ValueError) as raised:
    read(parameters)
  assert line in str(raised.value) and '\n' not in str(raised.value)


@pytest.mark.parametrize('beside, line', [
  (dict(rope_theta='x'), "rope_theta must be a positive number; it is 'x'"),
  (dict(partial_rotary_factor=1.5), 'partial_rotary_factor must be a number from 0 to 1; it is'),
  (dict(max_position_embeddings='many'), "max_position_embeddings must be .*; it is 'many'"),
  (dict(original_max_position_embeddings=16.5), 'original_max_.* must be .*; it is 16.5'),
  (dict(rotary_dim=64, partial_rotary_factor=0.25, head_dim=128), 'they mean the same: give one'),
  (dict(head_dim=0), 'head_dim must be an integer of at least 1; it is 0'),
  (dict(rope_thet=1), "read has no argument 'rope_thet'; did you mean 'rope_theta'"),
])
def test_keys_next_to_the_dictionary_are_checked_too(beside, line):
  with pytest.raises(ValueError, match=line):
    read({'rope_type': 'yarn'}, **{'rope_theta': 1e4, **beside})


@pytest.mark.parametrize('form, line', [
  ('ntk', "rope_type is 'ntk'; Hugging Face's"), ('resonance', "no 'resonance'"),
  ('ntk resonance', "rope_type is 'ntk'"), ('yarn of the paper', "no 'ramp'"),
  ('clipped', "rope_type is 'clipped'"),
  ('yarn of deepseek', 'multiplies queries only in classes such as deepseek_v3'),
])
def test_scalings_unknown_to_hugging_face_are_refused(form, line):
  for function in (write, write_old):
    with pytest.raises(ValueError, match=line):
      function(Rope(scaling=SMALL[form]))


@pytest.mark.parametrize('section, line', [
  ({'layers': ('rope', 'nope'), 'rope': PLAIN}, 'do not support rope,nope'),
  ({'layers': ('alibi',)}, 'do not support alibi'),
  ({'layers': ('temperature+rope',), 'rope': {**PLAIN, 'scaling': YARN},
    'temperature': {'kind': 'log_n', 'length': 4096, 'beta': 0.1}}, "have only 'ministral'"),
  ({'layers': ('temperature+rope',), 'rope': {**PLAIN, 'scaling': YARN},
    'temperature': {'kind': 'ministral', 'length': 64, 'beta': 0.1}}, "have only 'ministral'"),
])
def test_encodings_other_than_rope_are_refused(section, line):
  with pytest.raises(ValueError, match=line):
    write(section)


@pytest.mark.parametrize('section, line', [
  ({'layers': ('nope',)}, 'does not support layers without positions'),
  ({'full_attention': rope_of(), 'other': rope_of()}, 'one layer type, or full_attention and'),
  ({'full_attention': rope_of(), 'sliding_attention': rope_of(scaling=YARN)}, 'and no scaling'),
  ({'full_attention': rope_of(), 'sliding_attention': rope_of(fraction=0.5)}, 'the same partial'),
])
def test_settings_beyond_the_older_form_are_refused(section, line):
  write(section)
  with pytest.raises(ValueError, match=line):
    write_old(section)
