"""Encodings added to embeddings, or mixed into them, against public libraries' numbers.

The README of tests/golden describes each file. The other tests check exact identities.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.dims import Dims, letters
from posjax.encodings import Bound, Positions
from posjax.encodings.complex_order import ComplexOrder
from posjax.encodings.convolution import Convolution
from posjax.encodings.floater import Floater, integrate
from posjax.encodings.fourier import Fourier
from posjax.encodings.learned import Learned
from posjax.encodings.sinusoidal import Sinusoidal, sinusoid
from posjax.errors import UserError
from posjax.models.pattern import Pattern
from posjax.models.transformer import Transformer
from tests.conftest import title
from tests.encodings.test_oracles import layer_norm
from tests.oracles import convolution as oracle
from tests.support.problem import DIMS, close, segments
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def fractions(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).uniform(-50, 50, size=shape))


def dims(width):
  return Dims(N=1, K=1, H=width, D=width, V=7)


def counted(batch, length):
  return np.tile(np.arange(length), (batch, 1))


def embed(encoding, weights, x_BTD, pos_BT, ids=()):
  zeros = jnp.zeros(pos_BT.shape, jnp.int32)
  bound = Bound(encoding.with_dims(dims(x_BTD.shape[-1])), jax.tree.map(jnp.float64, weights))
  at = Positions(jnp.asarray(pos_BT)[..., None], zeros, zeros, ids=ids)
  return bound.embed(jnp.float64(x_BTD), at, ())[0]


def added(encoding, weights, pos_BT, width):
  return embed(encoding, weights, np.zeros((*pos_BT.shape, width)), pos_BT)


# Sinusoids.


@pytest.mark.parametrize('case', ['whisper', 'fairseq_nopad'])
def test_sinusoid_of_tensor2tensor(case):
  want = golden('sinusoidal_variants')[f'{case}/L13_d12'][None]
  close(added(Sinusoidal(layout='tensor2tensor'), {}, counted(1, 13), 12), want, 1e-12, 1e-12)


@pytest.mark.parametrize('width', [12, 9])
def test_sinusoid_of_positional_encodings_has_any_width(width):
  got = sinusoid(counted(1, 11), width, dtype=jnp.float64)
  close(got[0], golden('sinusoidal_pe123d')[f'pe1d/L11_d{width}'], 1e-12, 1e-12)


def test_sinusoid_scaled_by_x_transformers_begins_with_its_scale():
  z = golden('sinusoidal_variants')
  encoding = Sinusoidal(layout='half', scaled=True)
  start = encoding.with_dims(dims(12)).init_weights(jax.random.key(0))
  scale = z['xt_scaled/L13_d12/scale'][0]
  assert start['scale'] == np.float32(scale)
  want = z['xt_scaled/L13_d12/y'][None]
  close(added(encoding, {'scale': scale}, counted(1, 10), 12), want, 1e-12, 1e-12)


@pytest.mark.parametrize('width', [2, 9])
def test_sinusoid_refuses_odd_and_small_widths(width):
  said = f'the width must be even, for pairs of sin and cos, and at least 4; it is {width}'
  with pytest.raises(ValueError, match=f'^{said}$'):
    Sinusoidal().with_dims(dims(width))


def test_sinusoid_scaled_by_speecht5():
  z = golden('sinusoidal_variants')
  x, alpha, y = (z[f'speecht5_scaled/L13_d12/{part}'] for part in ('x', 'alpha', 'y'))
  close(embed(Sinusoidal(scaled=True), {'scale': alpha}, x, counted(2, 10)), y, 1e-12, 1e-12)


def test_sinusoid_of_m2m100_begins_after_its_padding():
  z = golden('sinusoidal_variants')
  real = z['fairseq_ids/input_ids'] != 1
  pos_BT = np.cumsum(real, axis=1) - 1
  got = added(Sinusoidal(layout='tensor2tensor', offset=2), {}, pos_BT, 16)
  assert real.sum() == 22
  close(got[real], z['fairseq_ids/y'][real], 1e-12, 1e-12)


# Learned tables.


def test_learned_in_gpt2():
  z = golden('learned_absolute')
  got = embed(
    Learned(length=12), {'table_RD': z['gpt2/wpe']}, z['gpt2/wte'][z['gpt2/input_ids']],
    counted(2, 6),
  )
  close(got, z['gpt2/y'], 1e-14, 1e-15)
  z = golden('model_gpt2')
  table, words = z['w:transformer.wpe.weight'], z['w:transformer.wte.weight'][z['input_ids']]
  got = embed(Learned(length=40), {'table_RD': table}, words, counted(2, 9))
  close(got, z['hidden_0'], 1e-14, 1e-15)


def test_learned_in_bert():
  z = golden('model_bert')
  part = {key.removeprefix('w:bert.embeddings.'): x for key, x in z.items() if 'embeddings.' in key}
  words = np.float64(part['word_embeddings.weight'])[z['input_ids']]
  words += part['token_type_embeddings.weight'][z['token_type_ids']]
  table = part['position_embeddings.weight']
  got = embed(Learned(length=40), {'table_RD': table}, words, counted(2, 8))
  part = {f'bert/w:{key}': x for key, x in part.items()}
  close(layer_norm(np.asarray(got), part, 'bert'), z['hidden_0'], 1e-10, 1e-12)


def test_learned_in_roberta_and_opt_begins_with_row_two():
  z = golden('learned_absolute')
  real = z['roberta/input_ids'] != 1
  words = np.float64(z['roberta/w:word_embeddings.weight'])[z['roberta/input_ids']]
  words += z['roberta/w:token_type_embeddings.weight'][0]
  table = {'table_RD': z['roberta/w:position_embeddings.weight']}
  got = embed(Learned(length=10, offset=2), table, words, np.cumsum(real, axis=1) - 1)
  got = layer_norm(np.asarray(got), z, 'roberta')
  assert not real.all() and real.sum() > 6
  close(got[real], z['roberta/y'][real], 1e-10, 1e-12)
  real = z['opt/attention_mask'] == 1
  got = added(
    Learned(length=12, offset=2), {'table_RD': z['opt/w:weight']}, np.cumsum(real, axis=1) - 1, 8
  )
  assert not real.all() and real.sum() > 6
  close(got[real], z['opt/y'][real], 0, 0)


# Complex words.


def test_complex_embeddings_are_multiplied_by_waves():
  x, pos_BT = normal(1, 2, 5, 8), fractions(2, 2, 5)
  ids = np.array([[0, 1, 2, 3, 6], [6, 6, 5, 4, 0]])
  omega = np.random.default_rng(3).normal(size=(7, 4))
  word = x[..., :4] + 1j * x[..., 4:]
  for encoding, weights, of_token in (
    (ComplexOrder(), {'omega_VC': omega}, omega[ids]),
    (ComplexOrder(shared=True), {'omega_C': omega[3]}, omega[3]),
  ):
    wave = word * np.exp(1j * of_token * pos_BT[..., None])
    got = embed(encoding, weights, x, pos_BT, ids)
    close(got, jnp.concatenate([wave.real, wave.imag], axis=-1), 1e-12, 1e-12)


def test_complex_embeddings_without_phases_equal_the_paper():
  r, pos_BT, ids = normal(4, 2, 5, 4), fractions(5, 2, 5), np.full((2, 5), 3)
  omega = np.random.default_rng(6).normal(size=(7, 4))
  x = jnp.concatenate([r, 0 * r], axis=-1)
  got = embed(ComplexOrder(), {'omega_VC': omega}, x, pos_BT, ids)
  angle = omega[3] * pos_BT[..., None]
  close(got, jnp.concatenate([r * jnp.cos(angle), r * jnp.sin(angle)], axis=-1), 1e-12, 1e-12)


def test_initial_complex_frequencies_are_equal_in_pairs():
  start = ComplexOrder().with_dims(dims(12)).init_weights(jax.random.key(0))['omega_VC']
  want = [10_000 ** (-2 * (k // 2) / 6) for k in range(6)]
  close(start, np.tile(np.float32(want), (7, 1)), 1e-6, 0)


def test_complex_embeddings_need_token_ids():
  with pytest.raises(ValueError, match=r'pass token ids, Positions\(…, ids=…\)'):
    embed(ComplexOrder(), {'omega_VC': np.ones((7, 2))}, np.ones((1, 3, 4)), counted(1, 3))
  with pytest.raises(ValueError, match='it needs a vocabulary'):
    ComplexOrder().with_dims(Dims(N=1, K=1, H=4, D=4))


# Dynamics.


def test_runge_kutta_of_a_line_is_its_series():
  """For dp/dt = a p, each step multiplies by the first five terms of exp(a h)."""
  z = 0.3 * 0.25
  factor = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
  start = normal(7, 3, 4)
  got = integrate(lambda p, t: 0.3 * p, start, 20, 0.25)
  close(got, start * factor ** np.arange(20)[:, None, None], 1e-13, 1e-13)


def test_runge_kutta_is_exact_for_cubes():
  got = integrate(lambda p, t: 3 * t**2 + 0 * p, jnp.ones(2), 9, 0.5)
  close(got[:, 0], 1 + (0.5 * np.arange(9)) ** 3, 1e-14, 0)


def test_runge_kutta_is_of_fourth_order():
  """dp/dt = cos(t) p has the solution exp(sin(t)): half the step leaves 1/16 of the error."""
  def error(steps):
    got = integrate(lambda p, t: jnp.cos(t) * p, jnp.ones(1), steps + 1, 2 / steps)
    return abs(got[-1, 0] - np.exp(np.sin(2)))

  assert 14 < error(20) / error(40) < 18


def test_floater_at_rest_adds_a_constant_to_queries_keys_and_values():
  """With zero dynamics every position gets the same vector, p(0)."""
  encoding = Floater(length=9).with_dims(Dims(N=2, K=1, H=3, D=6))
  start = encoding.init_weights(jax.random.key(0))
  weights = jax.tree.map(jnp.zeros_like, start) | {'start_LPH': normal(8, 3, 6)}
  bound = Bound(encoding, jax.tree.map(jnp.float64, weights))
  zeros = jnp.zeros((1, 4), jnp.int32)
  at = Positions(jnp.asarray([[[0], [8], [3], [3]]]), zeros, zeros)
  features, _ = bound.features(jnp.ones((1, 4, 6)), at, ())
  q, k, v = normal(9, 1, 4, 2, 3), normal(10, 1, 4, 1, 3), normal(11, 1, 4, 1, 3)
  own = weights['start_LPH'].reshape(3, 2, 3)
  query, key = bound.query(at.attach(q, v, features)), bound.key(at.attach(k, v, features))
  close(query.h, q + own[0] / 3**0.5, 1e-14, 1e-14)
  close((key.h, key.v, query.v), (k + own[1, :1], v + own[2, :1], v + own[2, :1]), 1e-14, 1e-14)


def test_floater_starts_with_xavier_weights():
  """Fans from [d, d + 1] for the network and from [3, L, d] for the starts, as released."""
  start = Floater(length=9).with_dims(Dims(N=8, K=8, H=16, D=128, L=5)).init_weights(
    jax.random.key(0)
  )
  assert start['start_LPH'].shape == (5, 3, 128)
  bound = (6 / (5 * 128 + 3 * 128)) ** 0.5
  assert 0.99 * bound < jnp.abs(start['start_LPH']).max() <= bound
  for name in ('first_RH', 'second_RH'):
    assert start[name].shape == (129, 128)
    close(jnp.std(start[name]), jnp.float32((2 / (128 + 129)) ** 0.5), 0.02, 0)
  assert not start['first_bias_H'].any() and not start['second_bias_H'].any()


# Fourier features.


def linear(encoding, width):
  """Returns weights that make the network the identity: gelu(y + 100) - 100 = y."""
  size = encoding.size
  return dict(
    frequency_R=normal(12, size // 2), first_RC=jnp.eye(size), first_bias_C=jnp.full(size, 100.0),
    second_CD=jnp.eye(size, width), second_bias_D=jnp.full(width, -100.0),
  )


def test_fourier_features_multiply_to_a_kernel_of_the_distance():
  """r_p . r_s = sum_w cos(w (p - s)) / |F|."""
  encoding = Fourier(size=8, hidden=8)
  weights, pos_BT = linear(encoding, 8), fractions(13, 2, 6)
  r = added(encoding, weights, pos_BT, 8)
  distance = pos_BT[:, :, None, None] - pos_BT[:, None, :, None]
  want = jnp.sum(jnp.cos(distance * weights['frequency_R']), axis=-1) / 8
  close(jnp.einsum('btd,bsd->bts', r, r), want, 1e-11, 1e-11)


def test_fourier_features_begin_as_a_gaussian_of_the_distance():
  encoding = Fourier(size=20_000, hidden=1, gamma=5.0).with_dims(dims(4))
  w = np.float64(encoding.init_weights(jax.random.key(0))['frequency_R'])
  for distance in (1.0, 5.0, 8.0):
    close(np.mean(np.cos(distance * w)), np.exp(-(distance**2) / 50), 0, 0.03)


# Names.


@pytest.mark.parametrize('encoding', [
  ComplexOrder(), ComplexOrder(shared=True), Fourier(size=10, hidden=7),
], ids=title)
def test_an_axis_with_a_model_letter_has_the_model_size(encoding):
  """The letter shards the axis over devices, and only the model's sizes are checked to divide."""
  sizes = dataclasses.asdict(DIMS)
  for name, w in encoding.with_dims(DIMS).init_weights(jax.random.key(0)).items():
    assert w.shape == tuple(sizes.get(a) or n for a, n in zip(letters(name), w.shape, strict=True))


# Convolution.


def mixed(encoding, weights, x_BTD, segment_ids, state=None):
  """Returns the module's output and its state afterwards."""
  module = encoding.with_dims(dims(x_BTD.shape[-1]))
  bound = Bound(module, jax.tree.map(jnp.float64, weights))
  state = module.init_state(len(x_BTD), 0, False, None).sequence if state is None else state
  segment_ids = jnp.asarray(segment_ids, jnp.int32)
  at = Positions(segment_ids[..., None], segment_ids, segment_ids)
  return bound.embed(jnp.float64(x_BTD), at, state)


def taps(seed, kernel, groups, width):
  return dict(
    direction_RHD=normal(seed, kernel, width // groups, width), gain_R=normal(seed + 1, kernel),
    bias_D=normal(seed + 2, width),
  )


@pytest.mark.parametrize('case, groups', [('k4_g2_d8', 2), ('k3_g1_d6', 1)])
def test_convolution_of_wav2vec2(case, groups):
  z = {part: x for key, x in golden('wav2vec2_conv_pos').items() for part in [key.split('/')[-1]]
       if key.startswith(case)}
  weights = dict(
    direction_RHD=z['weight_v'].transpose(2, 1, 0), gain_R=z['weight_g'].ravel(), bias_D=z['bias']
  )
  encoding = Convolution(kernel=len(weights['gain_R']), groups=groups, causal=False)
  got, _ = mixed(encoding, weights, z['x'], np.zeros(z['x'].shape[:2]))
  close(got - z['x'], z['y'], 1e-12, 1e-13)


def test_causal_convolution_is_the_centered_one_shifted():
  """Two zero tokens in front shift the centered kernel of 5 by two."""
  weights, x, zeros = taps(20, 5, 2, 6), normal(23, 2, 9, 6), np.zeros((2, 9))
  causal, _ = mixed(Convolution(kernel=5, groups=2), weights, x, zeros)
  suffix_sum = jnp.pad(x, [(0, 0), (2, 0), (0, 0)])
  centred, _ = mixed(
    Convolution(kernel=5, groups=2, causal=False), weights, suffix_sum, np.zeros((2, 11))
  )
  close(causal - x, (centred - suffix_sum)[:, :9], 1e-13, 1e-13)


@pytest.mark.parametrize('kernel, causal', [(5, True), (4, False), (5, False), (40, True)])
def test_convolution_of_packed_rows_equals_the_oracle(kernel, causal):
  encoding, weights = Convolution(kernel, 3, causal), taps(24, kernel, 3, 6)
  x, rows = normal(27, 2, 12, 6), segments('000001112222', '..0000011111')
  got, _ = mixed(encoding, weights, x, rows)
  real = rows >= 0
  want = oracle.mix(x, rows, dict(kernel=kernel, groups=3, causal=causal), weights)
  close(got[real], want[real], 1e-12, 1e-12)


def test_convolution_continues_from_its_state():
  encoding, weights, x = Convolution(kernel=5, groups=2), taps(28, 5, 2, 6), normal(31, 2, 12, 6)
  rows = segments('000001111111', '..0000011111')
  want, _ = mixed(encoding, weights, x, rows)
  parts, state = [], None
  for part in (slice(0, 2), slice(2, 9), slice(9, 10), slice(10, 12)):
    got, state = mixed(encoding, weights, x[:, part], rows[:, part], state)
    parts.append(got)
  close(jnp.concatenate(parts, axis=1)[rows >= 0], want[rows >= 0], 1e-13, 1e-13)


def test_initial_convolution_gains_change_nothing():
  start = Convolution(kernel=7, groups=4).with_dims(dims(64)).init_weights(jax.random.key(0))
  norm = np.linalg.norm(start['direction_RHD'].reshape(7, -1), axis=1)
  close(start['gain_R'], norm, 1e-6, 0)
  close(jnp.std(start['direction_RHD']), jnp.float32(2 / (7 * 64) ** 0.5), 0.02, 0)


def test_causal_models_refuse_a_convolution_that_reads_later_tokens():
  model = Transformer(
    pattern=None, vocabulary=7, dim=8, layers=1, heads=1, kv_heads=1, head_dim=8, hidden=8
  )
  encoding = Convolution(kernel=4, groups=2, causal=False).with_dims(model.dims)
  pattern, zeros = Pattern((encoding,)), jnp.zeros((1, 3), jnp.int32)
  args = jax.random.key(0), zeros, Positions(zeros[..., None], zeros, zeros)
  with pytest.raises(UserError, match='encoding.convolution: it reads later tokens'):
    jax.eval_shape(model.clone(pattern=pattern).init, *args)
  jax.eval_shape(model.clone(pattern=pattern, causal=False).init, *args)
