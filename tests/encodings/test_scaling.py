"""Scaled RoPE: against tables of transformers, published numbers, the oracle, and identities."""

import json
import math
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from posjax import main, state
from posjax import run as run_lib
from posjax.dims import Dims
from posjax.encodings import Bound, Positions, arguments
from posjax.encodings.nope import Nope
from posjax.encodings.parts.rotation import frequencies
from posjax.encodings.parts.scaling import TYPES, scale, table
from posjax.encodings.parts.scaling_check import VALUES, keys, of_trained_length
from posjax.encodings.rope import Rope
from posjax.hub.rope_parameters import read
from posjax.runtime import program as program_lib
from tests.encodings.test_oracles import close
from tests.oracles import rope as oracle
from tests.support.stored import golden

pytestmark = [
  pytest.mark.usefixtures('float64'),
  pytest.mark.filterwarnings('ignore:scaling. .* is close to linear'),
]

YARN = {'rope_type': 'yarn', 'factor': 16.0, 'original_max_position_embeddings': 4096}
DEEPSEEK = {**YARN, 'factor': 40.0}
LLAMA3 = {
  'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
  'original_max_position_embeddings': 8192,
}
DYNAMIC = {'rope_type': 'dynamic', 'factor': 2.0, 'original_max_position_embeddings': 2048}
LONG = {
  'rope_type': 'longrope', 'factor': 4.0, 'original_max_position_embeddings': 16,
  'short_factor': (1.0, 1.1, 1.2, 1.3), 'long_factor': (1.0, 2.5, 3.0, 4.5),
}
# One scaling of each type and form, for heads of eight channels, extending to 32 tokens.
SMALL = {
  'default': {'rope_type': 'default'},
  'resonance': {'rope_type': 'default', 'resonance': True},
  'linear': {'rope_type': 'linear', 'factor': 3.0},
  'ntk': {'rope_type': 'ntk', 'factor': 3.0},
  'ntk resonance': {'rope_type': 'ntk', 'factor': 3.0, 'resonance': True},
  'dynamic': {**DYNAMIC, 'original_max_position_embeddings': 9},
  'dynamic, within': {**DYNAMIC, 'original_max_position_embeddings': 50},
  'yarn': {**YARN, 'original_max_position_embeddings': 64},
  'yarn of the paper': {**YARN, 'original_max_position_embeddings': 640, 'ramp': 'paper'},
  'yarn of gpt-oss': {**YARN, 'truncate': False, 'beta_fast': 16.0, 'beta_slow': 2.0},
  'yarn given': {**YARN, 'attention_factor': 1.5},
  'yarn of deepseek': {**DEEPSEEK, 'mscale': 1.2, 'mscale_all_dim': 0.707},
  'yarn resonance': {**YARN, 'resonance': True},
  'longrope': LONG,
  'longrope, short': {**LONG, 'original_max_position_embeddings': 32},
  'longrope given': {**LONG, 'attention_factor': 1.25},
  'llama3': {**LLAMA3, 'original_max_position_embeddings': 256},
  'proportional': {'rope_type': 'proportional', 'partial_rotary_factor': 0.5},
  'proportional slower': {
    'rope_type': 'proportional', 'partial_rotary_factor': 0.8, 'factor': 2.0
  },
  'clipped': {'rope_type': 'clipped', 'clip_low_n': 3},
  'clipped whole': {'rope_type': 'clipped'},
  'clipped hard': {'rope_type': 'clipped', 'clip_low_n': 2, 'hard': True},
}


def of_head(size, **args):
  return Rope(**args).with_dims(Dims(N=2, K=1, H=size))


def at_of(batch, length, segment=0):
  pos = jnp.tile(jnp.arange(length), (batch, 1))
  return Positions(pos[..., None], pos, jnp.zeros_like(pos) + segment)


def same(got, want, rtol=1e-12):
  close(np.float64(got), np.float64(want), rtol, 0)


# Tables of transformers.

CASES = json.loads(bytes(golden('rope_scaling')['configs_json']))


@pytest.mark.parametrize('case', CASES)
def test_tables_of_transformers(case):
  z, config = golden('rope_scaling'), CASES[case]
  args = read(
    config['rope_parameters'], max_position_embeddings=config['max_position_embeddings']
  )['rope']
  rope, length = of_head(config['head_dim'], **args), config['seq_len'] or 0
  scaled = rope.scaled(length)
  same(scaled.theta, z[f'{case}/inv_freq_f64'])
  same(scaled.attention_factor, z[f'{case}/attention_factor'])
  assert scaled.query_factor == 1
  width = round(config['head_dim'] * rope.fraction)
  same(oracle.scaled(width, rope.base, args['scaling'], length), z[f'{case}/inv_freq_f64'])
  same(oracle.attention_factor(args['scaling']), z[f'{case}/attention_factor'])


@pytest.mark.parametrize('step, length', [(0, 8), (1, 30), (2, 6)])
def test_dynamic_is_a_function_of_the_length(step, length):
  """True for these calls of the library's module.

  A call of 20 tokens after one of 30 would differ: the module keeps the frequencies of the longest
  call until one is shorter than L = 16.
  """
  z = golden('rope_scaling')
  scaling = {**DYNAMIC, 'factor': 3.0, 'original_max_position_embeddings': 16}
  rope = of_head(16, scaling=scaling)
  same(rope.scaled(length).theta, z[f'dynamic_module/step{step}_len{length}/inv_freq'])
  theta = rope.scaled(jnp.float64(length)).theta  # of a traced length
  cos = np.cos((length - 1) * np.tile(theta, 2))
  same(cos, z[f'dynamic_module/step{step}_len{length}/cos'])


# Published numbers.


def test_yarn_of_128_channels():
  theta, factor, query = of_head(128, scaling=YARN).scaled()
  same(factor, 1.2772588722, 1e-10)
  assert query == 1
  want = {
    20: 0.0562341325, 21: 0.0469408600, 30: 0.0085268438, 40: 8.817890e-4, 45: 1.517716e-4,
    46: 8.334509e-5, 63: 7.217387e-6,
  }
  same(theta[[*want]], [*want.values()], 5e-7)
  plain = frequencies(128)
  same(theta[:21], plain[:21], 1e-15)
  same(theta[46:], plain[46:] / 16, 1e-15)
  paper = of_head(128, scaling={**YARN, 'ramp': 'paper'}).scaled().theta
  ratio = theta / paper
  same([ratio.min(), ratio.max()], [0.971, 3.04], 1e-3)
  assert ratio.argmax() == 38


def test_yarn_of_gpt_oss():
  scaling = {**YARN, 'factor': 32.0, 'truncate': False}
  theta, factor, _ = of_head(64, base=150_000.0, scaling=scaling).scaled()
  same(factor, 1.3465735903, 1e-10)
  want = [1.0, 0.0508132748, 0.0067949595, 4.5648e-4, 1.818834e-5, 3.0235e-7]
  same(theta[[0, 8, 12, 16, 20, 31]], want, 2e-5)
  whole = of_head(64, base=150_000.0, scaling={**scaling, 'truncate': True}).scaled().theta
  lower = 1 - theta / whole
  same(lower.max(), 0.433, 1e-3)
  assert lower.argmax() == 17


@pytest.mark.parametrize('scale, want', [
  (2, 1.06931), (4, 1.13863), (8, 1.20794), (16, 1.27726), (32, 1.34657), (40, 1.36889), (1, 1.0),
])
def test_yarn_temperature(scale, want):
  scaling = {**YARN, 'factor': scale}
  same(of_head(128, scaling=scaling).scaled().attention_factor, want, 5e-6)


@pytest.mark.parametrize('m, query', [(0.707, 1.58963), (1.0, 1.87385)])
def test_yarn_of_deepseek(m, query):
  """V2-Lite and V3 scale the logits only, not cosines and sines."""
  scaled = of_head(64, scaling={**DEEPSEEK, 'mscale': m, 'mscale_all_dim': m}).scaled()
  assert scaled.attention_factor == 1
  same(scaled.query_factor, query, 1e-5)


def test_llama3_of_128_channels():
  plain, scaled = frequencies(128, 5e5), of_head(128, base=5e5, scaling=LLAMA3).scaled()
  slower = plain / scaled.theta
  same(slower[[29, 31, 34]], [1.20748, 2.02631, 5.25733], 5e-6)
  same(slower[:29], np.ones(29), 1e-15)
  same(slower[35:], np.full(29, 8.0), 1e-15)
  same(scaled.theta[[29, 63]], [0.0021665708, 3.068926e-7], 2e-7)
  assert scaled.attention_factor == 1


def test_llama3_is_the_ramp_of_yarns_paper():
  yarn = {
    'rope_type': 'yarn', 'factor': 8.0, 'beta_slow': 1.0, 'beta_fast': 4.0, 'ramp': 'paper',
    'attention_factor': 1.0, 'original_max_position_embeddings': 8192,
  }
  got, want = (of_head(128, base=5e5, scaling=scaling).scaled() for scaling in (LLAMA3, yarn))
  assert (got.theta == want.theta).all() and got[1:] == want[1:]


@pytest.mark.parametrize('length, base, slower', [(4096, 30527.74, 3), (8192, 72195.86, 7)])
def test_dynamic_of_128_channels(length, base, slower):
  theta = of_head(128, scaling=DYNAMIC).scaled(length).theta
  same(theta, frequencies(128, base), 2e-7)
  same(frequencies(128)[63] / theta[63], slower)


def test_proportional_of_gemma():
  scaling = {'rope_type': 'proportional', 'partial_rotary_factor': 0.25}
  theta = of_head(256, base=1e6, scaling=scaling).scaled().theta
  assert len(theta) == 128 and np.count_nonzero(theta) == 32 and theta[:32].all()
  same(theta[[1, 31]], [0.89769, 0.0352269], 5e-6)
  same(of_head(256, base=1e6, fraction=0.25).scaled().theta[1], 0.64938, 5e-6)


def test_proportional_rounds_down():
  """As in transformers: 0.35 of 16 channels is 5.6 channels, which hold 2 complete planes."""
  for share, planes in ((0.35, 2), (0.375, 3), (0.36, 2), (0.99, 7), (0.12, 0)):
    rope = of_head(16, scaling={'rope_type': 'proportional', 'partial_rotary_factor': share})
    assert np.count_nonzero(rope.scaled().theta) == planes
    assert np.count_nonzero(oracle.scaled(16, 1e4, rope.scaling, 0)) == planes


def test_ramps_without_a_width():
  """Llama 4 Scout and Kimi K2: frequencies not slower than the bound stay unchanged."""
  plain = frequencies(128, 5e5)
  bound = LLAMA3['original_max_position_embeddings'] * plain[20] / (2 * np.pi)
  for low in (bound, np.nextafter(bound, np.inf)):
    step = {**LLAMA3, 'low_freq_factor': low, 'high_freq_factor': low}
    theta = of_head(128, base=5e5, scaling=step).scaled().theta
    kept = 21 if low == bound else 20
    assert (theta[:kept] == plain[:kept]).all() and (theta[kept:] == plain[kept:] / 8).all()
  paper = {**YARN, 'ramp': 'paper', 'beta_fast': 8.0, 'beta_slow': 8.0}
  rotates = 4096 * frequencies(64) / (2 * np.pi)
  theta = of_head(64, scaling=paper).scaled().theta
  same(theta, frequencies(64) / np.where(rotates >= 8, 1, 16))


def test_a_ramp_of_the_code_without_a_width_is_a_thousandth_wide():
  """As in every library; visible only if a plane index lies within that width."""
  beta = 4096 / (2 * math.pi * 1e4 ** (2 * 9.9995 / 64))
  scaling = {**YARN, 'truncate': False, 'beta_fast': beta, 'beta_slow': beta}
  theta, plain = of_head(64, scaling=scaling).scaled().theta, frequencies(64)
  assert (theta[:10] == plain[:10]).all()
  same(theta[11:], plain[11:] / 16)
  same(theta[10] / plain[10], 0.5 + 0.5 / 16, 1e-6)


def test_longrope_attention_factor():
  scaling = {**LONG, 'factor': 32.0, 'original_max_position_embeddings': 4096}
  same(of_head(8, scaling=scaling).scaled().attention_factor, 1.19023807, 5e-9)


def test_clipped_of_128_channels():
  """Ratios to theta for the authors' 20 of 64 planes: the falling half of a Hann window."""
  ratio = of_head(128, scaling={'rope_type': 'clipped'}).scaled().theta / frequencies(128)
  same(ratio[:45], np.ones(45))
  close(ratio[44:], np.sin(np.pi / 2 * (1 - np.arange(20) / 19)) ** 2, 1e-12, 1e-15)
  hard = of_head(128, scaling={'rope_type': 'clipped', 'hard': True}).scaled().theta
  assert (hard[:44] == frequencies(128)[:44]).all() and not hard[44:].any()


# Every type and form against the oracle.


@pytest.mark.parametrize('layout, size, fraction', [('half', 8, 1.0), ('interleaved', 16, 0.5)])
@pytest.mark.parametrize('form', SMALL)
def test_rotation_equals_the_oracle(form, layout, size, fraction):
  scaling = SMALL[form]
  if 'partial_rotary_factor' in scaling:
    size, fraction = 8, 1.0
  rope = of_head(size, base=500.0, fraction=fraction, layout=layout, scaling=scaling)
  rng = np.random.default_rng(0)
  h, pos = rng.normal(size=(2, 5, 2, size)), rng.uniform(-40, 40, size=(2, 5))
  order = jnp.zeros((2, 5), jnp.int32)
  bound, at = Bound(rope), Positions(jnp.asarray(pos)[..., None], order, order)
  at = at.replace(position_features=bound.position_features(at, jnp.float64))
  tokens = at.attach(jnp.asarray(h))
  args = dict(base=500.0, fraction=fraction, layout=layout, scaling=scaling, length=0)
  want = oracle.rotate(h, pos, **args)
  cached = bound.key(tokens)
  if rope.by_length:
    assert (cached.h == h).all()
  for got, factor in (
    (bound.key_block(cached), 1), (bound.query(tokens), oracle.query_factor(scaling))
  ):
    close(got.h, factor * want, 1e-11, 1e-12)
    assert got.position_features == ()


def test_every_scaling_type_is_tested():
  assert {scaling['rope_type'] for scaling in SMALL.values()} == set(TYPES)
  given = {(s['rope_type'], key) for s in SMALL.values() for key in s if key != 'rope_type'}
  assert given == {(kind, key) for kind in TYPES for key in keys(kind)}
  assert {key for _, key in given} == set(VALUES)


# Identities.

ONE = [
  {'rope_type': 'linear', 'factor': 1.0}, {'rope_type': 'ntk', 'factor': 1.0},
  {**DYNAMIC, 'factor': 1.0}, {**LLAMA3, 'factor': 1.0}, {**YARN, 'factor': 1.0},
  {**YARN, 'factor': 1.0, 'ramp': 'paper', 'mscale': 0.5, 'mscale_all_dim': 1.0},
  {'rope_type': 'proportional', 'partial_rotary_factor': 1.0},
  {'rope_type': 'clipped', 'clip_low_n': 0},
]


@pytest.mark.parametrize('scaling', ONE, ids=lambda scaling: scaling['rope_type'])
def test_a_factor_of_one_is_rope(scaling):
  theta, *factors = of_head(64, scaling=scaling).scaled(2048)
  same(theta, frequencies(64), 3e-16)
  assert factors == [1, 1]


def test_rope_without_rotated_planes_is_nope():
  rope = of_head(8, scaling={'rope_type': 'proportional', 'partial_rotary_factor': 0.0})
  tokens = at_of(1, 6).attach(jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 2, 8))))
  for hook in ('query', 'key'):
    got, want = (getattr(Bound(encoding), hook)(tokens).h for encoding in (rope, Nope()))
    assert (got == want).all()


@pytest.mark.parametrize('factor', [1.5, 8.0])
def test_ntk_divides_the_slowest_frequency_by_the_factor(factor):
  theta = of_head(128, scaling={'rope_type': 'ntk', 'factor': factor}).scaled().theta
  plain = frequencies(128)
  assert theta[0] == plain[0] and theta[-1] == plain[-1] / factor
  same(theta, frequencies(128, 1e4 * factor ** (128 / 126)))
  linear = of_head(128, scaling={'rope_type': 'linear', 'factor': factor}).scaled().theta
  assert (theta[:-1] > linear[:-1]).all()


@pytest.mark.parametrize('kind', ['default', 'ntk', 'yarn'])
def test_resonance_wavelengths_are_integers(kind):
  own = {'default': {}, 'ntk': {'factor': 4.0}, 'yarn': YARN}[kind]
  theta = of_head(64, scaling={**own, 'rope_type': kind, 'resonance': True}).scaled().theta
  plain = of_head(64, scaling={**own, 'rope_type': kind}).scaled().theta
  cos_sin = 2 * np.pi / theta
  close(cos_sin, np.round(cos_sin), 1e-12, 0)
  assert (np.abs(cos_sin - 2 * np.pi / plain) <= 0.5).all()


def test_dynamic_within_the_trained_length_is_rope():
  for length in (0, 1, 2048):
    same(of_head(64, scaling=DYNAMIC).scaled(length).theta, frequencies(64), 1e-15)


# Mistakes.

WRONG = {
  'rope_type is missing; valid: default, linear, ntk': {'factor': 2.0},
  "rope_type is 'yarnn'; did you mean 'yarn'? (valid: default,": {'rope_type': 'yarnn'},
  "rope_type is 3 (valid: ": {'rope_type': 3},
  "yarn has no 'attn_factor'; did you mean 'attention_factor'? (keys: factor,": {
    **YARN, 'attn_factor': 1.0
  },
  "default has no 'factor' (keys: resonance)": {'rope_type': 'default', 'factor': 2.0},
  'yarn needs factor and original_max_position_embeddings': {'rope_type': 'yarn'},
  'factor must be a number of at least 1; it is 0.5': {'rope_type': 'linear', 'factor': 0.5},
  'factor must be a number of at least 1; it is nan': {'rope_type': 'linear', 'factor': math.nan},
  'factor must be a number of at least 1; it is True': {'rope_type': 'linear', 'factor': True},
  "factor must be a number of at least 1; it is 'four'": {'rope_type': 'linear', 'factor': 'four'},
  'factor must be a number of at least 1; it is inf': {'rope_type': 'linear', 'factor': 'inf'},
  'embeddings must be an integer of at least 2; it is 64.5': {
    **YARN, 'original_max_position_embeddings': '64.5'
  },
  'embeddings must be an integer of at least 2; it is True': {
    **YARN, 'original_max_position_embeddings': np.bool_(True)
  },
  "type is 'linear' and rope_type 'yarn'; they are two names": {**YARN, 'type': 'linear'},
  "ramp must be 'code' or 'paper'; it is 'papr'": {**YARN, 'ramp': 'papr'},
  'truncate must be True or False; it is 1': {**YARN, 'truncate': 1},
  'beta_slow must be at most beta_fast; they are 64 and 32.0': {**YARN, 'beta_slow': 64},
  'low_freq_factor must be at most high_freq_factor; they are 5.0 and 4.0': {
    **LLAMA3, 'low_freq_factor': 5.0
  },
  'mscale and mscale_all_dim go together: give both': {**YARN, 'mscale': 1.0},
  'short_factor must be positive numbers; it is (1.0, 0.0)': {**LONG, 'short_factor': [1.0, 0.0]},
  'long_factor must have a number for each of 4 planes; it has 2': {
    **LONG, 'long_factor': (1.0, 2.0)
  },
  'no plane makes beta_slow = 1 turns within original_max_position_embeddings = 6; it must be at': {
    **YARN, 'original_max_position_embeddings': 6
  },
  'long_factor must have a number for each of 4 planes; it has 5': {
    **LONG, 'long_factor': (1.0, 2.0, 3.0, 4.0, 5.0)
  },
  'embeddings must be an integer of at least 2; it is 2147483648': {
    **YARN, 'original_max_position_embeddings': 2**31
  },
  'factor must be a number of at least 1; it is 1e+39': {'rope_type': 'ntk', 'factor': 1e39},
  'partial_rotary_factor must be a number from 0 to 1; it is 1.5': {
    'rope_type': 'proportional', 'partial_rotary_factor': 1.5
  },
  'clip_low_n must be an integer of at least 0; it is 2.5': {
    'rope_type': 'clipped', 'clip_low_n': 2.5
  },
}


@pytest.mark.parametrize('said', WRONG)
def test_a_wrong_scaling_is_one_line(said):
  with pytest.raises(ValueError) as raised:
    of_head(8, scaling=WRONG[said])
  assert said in str(raised.value) and '\n' not in str(raised.value)
  assert str(raised.value).startswith('scaling: ')


@pytest.mark.parametrize('args, said', [
  (dict(fraction=0.25, scaling={'rope_type': 'ntk', 'factor': 2.0}),
   'ntk needs at least four rotated channels'),
  (dict(base=1.0, scaling=YARN), 'yarn needs at least four rotated channels and a base above 1'),
  (dict(base=0.5, scaling=SMALL['resonance']), 'resonance needs a base of at least 1'),
  (dict(fraction=0.5, scaling=SMALL['proportional']), 'proportional already sets how many planes'),
])
def test_a_scaling_that_does_not_fit_is_one_line(args, said):
  with pytest.raises(ValueError, match=f'^scaling: {said}'):
    of_head(8, **args)


def test_ramps_of_the_paper_and_llama3_work_without_fast_planes():
  """All planes are slower than the other two ramps: linear, with or without YaRN's factor."""
  paper = {**YARN, 'ramp': 'paper', 'original_max_position_embeddings': 6}
  same(of_head(8, scaling=paper).scaled().theta, frequencies(8) / 16)
  llama3 = {**LLAMA3, 'original_max_position_embeddings': 6}
  same(of_head(8, scaling=llama3).scaled().theta, frequencies(8) / 8)


@pytest.mark.parametrize('length, warned', [(201, True), (202, False)])
def test_yarn_warns_if_all_planes_are_interpolated(length, warned):
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    of_head(64, scaling={**YARN, 'original_max_position_embeddings': length})
  said = [str(warning.message) for warning in caught]
  assert said == warned * [
    'scaling: yarn is close to linear here: no plane makes beta_fast = 32 turns within '
    'original_max_position_embeddings = 201; train on at least 202 tokens, or lower beta_fast'
  ]
  paper = scale({**YARN, 'original_max_position_embeddings': length, 'ramp': 'paper'},
                frequencies(64))
  assert (paper.theta[0] < 1) == warned


def test_a_program_warns_in_one_line(capsys):
  def program():
    warnings.simplefilter('always')
    of_head(64, scaling={**YARN, 'original_max_position_embeddings': 201})
    return 0

  before = warnings.showwarning
  assert program_lib.run_program(program) == 0
  said = capsys.readouterr().err
  assert said.startswith('posjax: warning: scaling: yarn is close to linear here: no plane makes')
  assert said.endswith('or lower beta_fast\n') and said.count('\n') == 1
  assert warnings.showwarning is before


# Configs, the command line, and printed text.


def test_a_scaling_is_hashable_and_its_arguments_are_plain():
  one, other = (Rope(scaling={**LONG, 'long_factor': kind((1, 2))}) for kind in (list, tuple))
  assert one == other and hash(one) == hash(other)
  assert arguments(one)['scaling'] == {**LONG, 'long_factor': (1, 2)}
  assert arguments(Rope)['scaling'] == {} and hash(Rope()) == hash(Rope(scaling={}))


@pytest.mark.parametrize('kind', [str, float, np.int64, np.float32, np.float64])
def test_numbers_of_any_kind(kind):
  given = {**YARN, 'factor': kind(16), 'original_max_position_embeddings': kind(4096)}
  rope = of_head(64, scaling={**given, 'beta_fast': kind(32), 'truncate': np.bool_(True)})
  plain = {**YARN, 'beta_fast': 32, 'truncate': True}
  assert rope == of_head(64, scaling=plain) and hash(rope) == hash(of_head(64, scaling=plain))
  assert {type(value) for value in rope.scaling.values()} <= {str, int, float, bool}
  assert type(rope.scaling['original_max_position_embeddings']) is int
  assert json.loads(json.dumps(arguments(rope)['scaling'])) == plain
  clipped = Rope(scaling={'rope_type': 'clipped', 'clip_low_n': kind(3)})
  assert type(clipped.scaling['clip_low_n']) is int


def test_integral_floats_become_integers_only_for_counts():
  scaling = Rope(scaling={**YARN, 'factor': 8, 'beta_slow': 2.0}).scaling
  assert type(scaling['factor']) is int and type(scaling['beta_slow']) is float


def test_type_is_an_alias_of_rope_type():
  own = {key: value for key, value in YARN.items() if key != 'rope_type'}
  for names in ({'type': 'yarn'}, {'type': 'yarn', 'rope_type': 'yarn'}):
    assert Rope(scaling={**own, **names}) == Rope(scaling=YARN)


@pytest.mark.parametrize('kind', TYPES)
def test_the_trained_length_is_added_where_one_is_needed(kind):
  key = 'original_max_position_embeddings'
  needed = kind in ('dynamic', 'yarn', 'longrope', 'llama3')
  for name in ('type', 'rope_type'):
    assert of_trained_length({name: kind}, 64) == {name: kind, **({key: 64} if needed else {})}
  assert of_trained_length({'rope_type': kind, key: 32}, 64) == {'rope_type': kind, key: 32}
  assert of_trained_length({'rope_type': 'yar'}, 64) == {'rope_type': 'yar'}
  assert of_trained_length({}, 64) == {}


def built(*overrides):
  run = run_lib.parse(['posjax', *overrides])
  _, model = state.build(run.config)
  (rope,) = model.pattern.encodings
  return rope


def test_p_rope_from_the_command_line():
  scaling = {'rope_type': 'proportional', 'partial_rotary_factor': 0.75}
  rope = built('--config=p_rope')
  assert rope == Rope(scaling=scaling).with_dims(rope.dims)
  assert np.count_nonzero(rope.scaled().theta) == 6  # of 8
  rope = built('--config=p_rope', '--config.encoding.rope.scaling.partial_rotary_factor=0')
  assert not rope.scaled().theta.any()


@pytest.mark.parametrize('name', ['type', 'rope_type'])
def test_yarn_from_the_command_line(name):
  """It takes the training length, in any order of the flags."""
  scaling = '--config.encoding.rope.scaling'
  given = [f'{scaling}.{name}=yarn', f'{scaling}.factor=4', '--config.train.length=512']
  for args in (given, given[::-1]):
    rope = built('--config=rope', *args)
    assert rope.scaling == {
      'rope_type': 'yarn', 'factor': 4, 'original_max_position_embeddings': 512
    }
  rope = built('--config=rope', *given, f'{scaling}.original_max_position_embeddings=256.0')
  assert rope.scaling['original_max_position_embeddings'] == 256
  assert built('--config=rope', f'{scaling}.{name}=linear', f'{scaling}.factor=4').scaling == {
    'rope_type': 'linear', 'factor': 4
  }


@pytest.mark.parametrize('override, said', [
  ('type=yarn', "encoding.rope: scaling: type is 'yarn' and rope_type 'proportional'; they are"),
  ('partial_rotary_facto=1', "did you mean 'partial_rotary_factor'?"),
  ('partial_rotary_factor=2', 'encoding.rope: scaling: partial_rotary_factor must be a number'),
  ('rope_type=proportion', "scaling: rope_type is 'proportion'; did you mean 'proportional'?"),
  ('rope_type=yarn', "scaling: yarn has no 'partial_rotary_factor'"),
])
def test_mistakes_on_the_command_line(override, said, capsys):
  line = f'--config.encoding.rope.scaling.{override}'
  assert main.main(['posjax', '--config=p_rope', line, '--dry_run']) == 2
  error = capsys.readouterr().err
  assert said in error and error.count('\n') == 1


def test_the_printed_table_of_frequencies():
  rope = of_head(8, base=1e4, scaling={**YARN, 'factor': 4.0, 'beta_fast': 8.0})
  lines = table(rope.frequencies(), rope.scaled(), 4096).split('\n')
  assert lines[0].split() == (
    'plane frequency wavelength turns in 4096 scaled slower by'.split()
  )
  rows = [list(map(float, line.split())) for line in lines[1:5]]
  plain = frequencies(8)
  close(np.array(rows), np.stack([
    np.arange(4.0), plain, 2 * np.pi / plain, 4096 * plain / (2 * np.pi), rope.scaled().theta,
    plain / rope.scaled().theta,
  ], axis=1), 1e-3)
  assert lines[5] == 'attention factor 1.13863, query factor 1'
  still = of_head(8, scaling=SMALL['proportional'])
  assert table(still.frequencies(), still.scaled(), 64).split('\n')[-2].endswith('0      still')
