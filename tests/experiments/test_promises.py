"""The mathematics of experiments/promises: privacy, rounding, and measures of attention."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.promises import compression, energy, interpretability, privacy, trained
from experiments.promises.captured import capture
from posjax import run, state
from posjax.batch import Batch, Stream
from posjax.encodings.alibi import slopes
from posjax.encodings.parts.rotation import rotate
from posjax.errors import UserError
from posjax.models import transformer


def close(got, want, atol=1e-6):
  np.testing.assert_allclose(got, want, rtol=0, atol=atol)


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Privacy.


def renyi(order, noise, rate):
  """Mironov et al. 2019, arXiv 1908.10530, section 3.3, for a whole order."""
  terms = (
    math.comb(order, k) * (1 - rate) ** (order - k) * rate**k
    * math.exp(k * (k - 1) / (2 * noise**2))
    for k in range(order + 1)
  )
  return math.log(sum(terms)) / (order - 1)


@pytest.mark.parametrize(('noise', 'rate', 'steps'), [(1.0, 0.0164, 300), (2.0, 0.1, 50)])
def test_epsilon_is_that_of_the_equation(noise, rate, steps):
  """The package also tries fractional orders, which can only lower it."""
  pytest.importorskip('dp_accounting')
  delta = 1e-5
  want = min(  # Canonne et al. 2020, arXiv 2004.00010, proposition 12
    steps * renyi(a, noise, rate) + math.log1p(-1 / a) - math.log(delta * a) / (a - 1)
    for a in range(2, 33)
  )
  got = privacy.epsilon(noise, rate, steps, delta)
  assert 0.98 * want < got <= want * (1 + 1e-9)


def test_a_missing_accountant_is_one_line(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'dp_accounting', None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[privacy\]'"):
    privacy.epsilon(1.0, 0.1, 1, 1e-5)


def linear(params, row):
  """A loss whose gradient is the row itself, times its weight."""
  return jnp.sum(params['w'] * row.stream.x) * jnp.sum(row.weights)


def rows(x):
  return Batch(Stream(x), np.zeros((len(x), 1), np.int32), np.ones((len(x), 1), bool))


def test_gradients_are_clipped_one_by_one():
  x = normal(5, 3) * np.array([0.01, 0.1, 1, 10, 100], np.float32)[:, None]
  params = {'w': jnp.zeros(3)}
  clipped = [g * min(1, privacy.CLIP / np.linalg.norm(g)) for g in x]
  mean = lambda x: privacy.private_gradient(linear, params, rows(x), 0.0, jax.random.key(0))['w']
  close(mean(x), sum(clipped) / 5)
  far = x.copy()
  far[2] *= -1e6  # no text can move the sum by more than twice the clip
  assert np.linalg.norm(5 * (mean(far) - mean(x))) <= 2 * privacy.CLIP + 1e-5
  close(privacy.gradient(linear, params, rows(x))['w'], x.mean(axis=0), 1e-4)


def test_the_noise_has_its_deviation():
  x, params = np.zeros((4, 20_000), np.float32), {'w': jnp.zeros(20_000)}
  noise = privacy.private_gradient(linear, params, rows(x), 3.0, jax.random.key(0))['w'] * 4
  assert abs(float(jnp.std(noise)) / (3.0 * privacy.CLIP) - 1) < 0.03  # 6 deviations
  assert abs(float(jnp.mean(noise))) < 0.13


def test_each_text_is_drawn_with_the_rate():
  texts = rows(np.arange(1, 41, dtype=np.float32)[:, None])
  rng, count, draws = np.random.default_rng(0), np.zeros(40), 2000
  for _ in range(draws):
    drawn = privacy.draw(rng, texts, 0.2, 40)
    own = drawn.stream.x[drawn.weights].astype(int)
    assert len(set(own)) == len(own)  # at most once in a step
    count[own - 1] += 1
  assert np.all(np.abs(count / draws - 0.2) < 5 * (0.16 / draws) ** 0.5)
  with pytest.raises(AssertionError, match='epsilon does not hold'):
    privacy.draw(rng, texts, 1.0, 8)


# Rounded weights.


@pytest.mark.parametrize('bits', compression.BITS)
def test_weights_are_rounded_to_the_nearest_step(bits):
  w = normal(2, 64, 4, 16)
  integers, scale = compression.quantized(w, (1,), bits)
  assert np.abs(integers).max() == 2 ** (bits - 1) - 1
  assert np.all(np.abs(w - integers * scale) <= scale * 0.500001)
  again, same = compression.quantized(integers * scale, (1,), bits)
  np.testing.assert_array_equal(again, integers)
  close(same, scale, 1e-7)


def test_a_channel_of_zeros_stays_zero():
  integers, scale = compression.quantized(np.zeros((3, 2), np.float32), (0,), 8)
  assert not np.any(integers * scale)


@pytest.mark.parametrize(
  ('name', 'shape', 'outputs'),
  [
    ('query_DNH', (2, 8, 2, 4), (0, 2, 3)), ('output_NHD', (2, 2, 4, 8), (0, 3)),
    ('down_FD', (2, 6, 8), (0, 2)), ('table_VD', (5, 8), (0,)),
  ],
)
def test_each_output_has_one_scale(name, shape, outputs):
  w = normal(*shape) * normal(*shape[-1:], seed=1) ** 2
  inputs = tuple(axis for axis in range(w.ndim) if axis not in outputs)
  scale = np.abs(w).max(axis=inputs, keepdims=True) / 127
  got = compression.rounded({'layers': {name: jnp.asarray(w)}}, 8)['layers'][name]
  close(got, np.round(w / scale) * scale)


def test_norms_and_encodings_are_not_rounded():
  params = {
    'encoding': {'t5': {'table_RN': normal(8, 2)}}, 'norm': {'scale': normal(8)},
    'layers': {'query_bias_NH': normal(2, 2, 4)},
  }
  jax.tree.map(np.testing.assert_array_equal, compression.rounded(params, 4), params)


def test_spans_cover_all_positions():
  assert compression.spans(64, 512) == [(0, 64), (64, 128), (128, 256), (256, 512)]
  assert compression.spans(64, 64) == [(0, 64)]
  values, weights = normal(6, 8), np.ones((6, 8))
  weights[:, 2] = 0
  got = compression.window_means(values, weights, 0, 4)
  close(got, values[:, [0, 1, 3]].mean(axis=1))


def test_the_interval_covers_its_mean():
  draws = np.random.default_rng(0).normal(2.0, 3.0, size=(1000, 50))
  found = [compression.interval(own) for own in draws]
  covered = np.mean([abs(mean - 2.0) < half for mean, half in found])
  assert 0.92 < covered < 0.96  # Student's t would give 0.95; the normal interval is 0.944


# Measures of attention.


def one_hot(length, key):
  p = np.zeros((1, 2, length, length), np.float32)
  for i in range(length):
    p[0, :, i, max(0, key(i))] = 1
  return p


def test_distances_of_a_head_that_looks_three_back():
  got = interpretability.by_distance(one_hot(16, lambda i: i - 3))
  close(got, np.tile(np.eye(8)[3], (2, 1)))
  uniform = np.tril(np.ones((16, 16)))[None, None] / np.arange(1, 17)[:, None]
  close(interpretability.by_distance(uniform), np.full((1, 8), np.mean(1 / np.arange(9, 17))))


def test_induction_is_the_token_after_the_earlier_one():
  rows = interpretability.repeated(3, 16)
  np.testing.assert_array_equal(rows[:, :8], rows[:, 8:])
  assert all(len(set(row)) == 8 for row in rows)
  ids = rows[0]
  after = lambda i: [*ids[:8]].index(ids[i]) + 1 if i >= 8 else 0
  close(interpretability.induction(one_hot(16, after)), [1, 1])
  close(interpretability.induction(one_hot(16, lambda i: i - 8)), [0, 0])  # the token itself


@pytest.mark.parametrize('layout', ['half', 'interleaved'])
def test_planes_share_the_norms(layout):
  theta = np.array([1.0, 0.1, 0.01, 0.001])
  q, k = np.zeros((2, 1, 5, 4, 8), np.float32)
  q[..., :], k[..., :] = 1, 1
  pair = (1, 5) if layout == 'half' else (2, 3)
  q[:, :, 0, list(pair)] = 3  # plane 1 of head 0
  pos = np.arange(5)[None]
  turned = (np.asarray(rotate(x, pos, theta, layout)) for x in (q, k[:, :, :2]))
  got = interpretability.plane_shares(*turned, 4, layout)
  close(got[0], np.array([1, 3, 1, 1]) / 6)
  close(got[1:], np.full((3, 4), 1 / 4))


def test_a_probe_finds_a_position_that_is_there():
  y = np.broadcast_to(np.arange(12.0), (80, 12))
  x = normal(80, 12, 6)
  assert abs(interpretability.r_squared(x, y)) < 0.05
  mixed = x + y[..., None] * normal(6, seed=1)
  assert interpretability.r_squared(mixed, y) > 0.9
  exact = np.stack([y, np.zeros_like(y)], axis=-1)
  assert interpretability.r_squared(exact, y) > 1 - 1e-5


def test_captured_weights_are_the_softmax_of_captured_ends():
  sizes = dict(dim=16, layers=2, heads=2, kv_heads=1, head_dim=8, hidden=16)
  flags = [f'--config.model.{key}={value}' for key, value in sizes.items()]
  config = run.parse([
    'posjax', '--config=configs/rope.py', *flags, '--config.encoding.layers=alibi+rope',
    '--config.encoding.alibi.bias_max=8.0',
  ]).config
  _, model = state.build(config)
  params = transformer.init(model, jax.random.key(0))
  ids = np.random.default_rng(0).integers(256, size=(2, 9)).astype(np.int32)
  seen = capture(model, params, ids)
  want, _ = jax.jit(model.apply)({'params': params}, ids, Stream(ids).at(True))
  close(seen.outputs, want, 1e-5)
  assert len(seen.layers) == 2
  i, j = np.mgrid[:9, :9]
  for layer in seen.layers:
    logits = np.einsum('btnh,bskh->bnts', layer.q, layer.k)
    logits = logits - slopes(2)[:, None, None] * (i - j)
    p = np.where(j <= i, np.exp(logits), 0)
    close(layer.p, p / p.sum(axis=-1, keepdims=True), 1e-5)
  table = np.asarray(params['table_VD'])
  close(seen.embedded, table[ids] * 16**0.5, 1e-5)
  x = np.asarray(seen.layers[-1].x)
  norm = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-6)
  close(norm @ table.T, want, 1e-5)


def test_quality_per_flop():
  assert energy.saved_per(8.0, 3.0) == 0  # a model that guesses saves nothing
  assert energy.saved_per(2.0, 3.0) == 2 * energy.saved_per(2.0, 6.0) == 2


def test_only_runs_on_text_are_read(monkeypatch):
  config = run.parse(['posjax', '--config=configs/tasks/flip_flop.py'])
  monkeypatch.setattr(trained.run_lib, 'parse', lambda argv: config)
  with pytest.raises(UserError, match='its task is flip_flop; only runs on text can be read'):
    trained.load(Path('somewhere'))
