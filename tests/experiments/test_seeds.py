"""The errors of two tutorials that numbers can show; docs/tutorial_errors.md lists all errors."""

import math
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.seeds import absolute_lm, relative_lm
from experiments.seeds import worked_examples as worked
from experiments.seeds.absolute_lm import BYTES
from posjax import Bound, Sinusoidal, run
from posjax.errors import UserError
from tests.oracles import attention as loops
from tests.oracles import t5

ROOT = pathlib.Path(__file__).parents[2]
PAGES = 'docs/tutorial_errors.md', 'docs/tutorial_errors.zh.md'
PRINTED_LOSS = 2.3404  # the first line of a tutorial's log
INITIAL = jax.jit(relative_lm.initial)
TWICE = worked.V + worked.V  # the right e of its example


def close(got, want, atol=1e-6):
  np.testing.assert_allclose(got, want, rtol=0, atol=atol)


def softmax(a):
  a = np.exp(a - a.max(-1, keepdims=True))
  return a / a.sum(-1, keepdims=True)


def normal(*shape):
  return np.random.default_rng(0).normal(size=shape)


# The worked examples. Their scripts assert each number that they print.


def test_the_printed_examples(capsys):
  worked.absolute()
  worked.relative()
  lines = capsys.readouterr().out.splitlines()
  named = {int(n) for line in lines for n in re.findall(r'\d+', line[:8])}
  assert named == {3, 4, 10, *range(11, 26)}


def test_e03_the_offset_to_the_predecessor_tells_nothing():
  """It adds one number to all logits of a query, and softmax ignores it; i - j is different."""
  e = 2 * normal(3, 3)
  close(worked.weights(e, worked.Difference(of_pairs=False)), worked.weights(e))
  assert np.abs(worked.weights(e, worked.Difference()) - worked.weights(e)).max() > 0.1


def test_e04_outputs_are_means_by_weights_of_pairs():
  q, k, v = normal(3, 3, 3)
  s = softmax(q @ k.T / 3**0.5)
  close(worked.attention(q, k, v), [sum(s[i, j] * v[j] for j in range(3)) for i in range(3)])
  close(worked.attention(q, k, np.eye(3)).sum(1), np.ones(3))


def test_e11_equal_words_and_positions_cannot_show_order():
  """Without positions of their own, permuted words have permuted outputs."""
  order, p = [2, 0, 1], np.array([[0, 1, 0], [0.84, 0.54, 0.01], [0.91, -0.42, 0.02]])
  solve = lambda e: worked.attention(e, e, e)
  close(solve(TWICE[order]), solve(TWICE)[order])
  moved = solve(worked.V[order] + p) - solve(worked.V + p)[order]
  assert np.abs(moved).max() > 0.1


def test_e12_e13_the_printed_sums_are_off():
  close(TWICE - worked.E, [[0, 0, 0], [0.3] * 3, [0.6, 0.6, 0.7]])


def test_e14_the_weights_are_a_softmax():
  close(worked.S.sum(1), [0.9, 1.5, 2.1])
  close(worked.weights(TWICE), softmax(TWICE @ TWICE.T / 3**0.5))


def test_e15_columns_are_keys_in_one_order():
  order = [1, 2, 0]
  keys = TWICE[order]
  close(worked.attention(TWICE, keys, keys), worked.attention(TWICE, TWICE, TWICE))
  wrong = worked.weights(TWICE) @ keys
  assert np.abs(wrong - worked.attention(TWICE, TWICE, TWICE)).max() > 0.1


def test_e16_to_e20_the_printed_outputs_follow_from_none_of_its_expressions():
  row_1, all_rows = worked.S[0] @ worked.E, worked.S @ worked.E
  slip = worked.E.copy()
  slip[0, 1] = 0.5
  close(row_1, [0.51, 0.69, 0.83])
  close(worked.S[0] @ slip[[1, 0, 2]], [0.48, 0.69, 0.80])
  close(all_rows[1:], [[0.81, 1.11, 1.35], [1.11, 1.53, 1.87]])
  for own, right in zip(worked.Y, all_rows, strict=True):
    assert np.all(np.abs(own - right) > 0.02)


def test_e21_a_mean_stays_within_the_values():
  y = worked.attention(worked.E, worked.E, worked.E)
  assert np.all(y < worked.E.max(0)) and np.all(y > worked.E.min(0))
  assert np.sum(worked.Y > worked.E.max(0)) == 4
  close(worked.attention(TWICE, TWICE, TWICE, causal=True)[0], TWICE[0])


def test_e22_e23_relative_terms_of_two_words():
  words, P = worked.WORDS, np.array([[0, -1], [1, 0]])
  want = softmax(words @ words.T / 4**0.5 + P)
  for start in (0, 100):
    close(worked.weights(words, worked.Difference(), start=start), want)


def test_e24_outputs_are_a_matrix_product():
  alpha = worked.weights(worked.WORDS, worked.Difference())
  with pytest.raises(ValueError, match='could not be broadcast'):
    worked.WORDS * alpha
  outputs = worked.attention(worked.WORDS, worked.WORDS, worked.WORDS, worked.Difference())
  close(outputs, alpha @ worked.WORDS)


# The models.


@pytest.fixture(scope='module')
def absolute():
  return jax.jit(absolute_lm.logits), jax.jit(absolute_lm.initial)()


@pytest.fixture(scope='module')
def relative():
  return jax.jit(relative_lm.logits), INITIAL(0)


@pytest.fixture(params=['absolute', 'relative'])
def each(request):
  return request.getfixturevalue(request.param)


def ids(rows=2, length=64):
  return np.random.default_rng(1).integers(BYTES, size=(rows, length)).astype(np.int32)


@pytest.fixture(scope='module')
def layer():
  """Returns relative_lm's layer: weights, input, biases, and outputs of its attention and all."""
  x, at = jnp.asarray(normal(1, 7, 64), 'float32'), absolute_lm.positions(7)
  bias = Bound(relative_lm.BIAS, {'table_RN': jnp.asarray(normal(32, 4), 'float32')})
  block, rng = relative_lm.Block(), np.random.default_rng(2)
  shapes = jax.eval_shape(block.init, jax.random.key(0), x, at, bias)['params']
  w = jax.tree.map(lambda one: rng.normal(size=one.shape).astype('float32') / 8, shapes)

  @jax.jit
  def solve(w):
    attention = {'params': w['Attention_0']}
    own = relative_lm.Attention().apply(attention, layer_norm(x, w['LayerNorm_0']), at, bias)
    return own, block.apply({'params': w}, x, at, bias)

  return w, np.asarray(x), bias.weights, *solve(w)


def layer_norm(x, weights):
  x = (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + 1e-6) ** 0.5
  return x * weights['scale'] + weights['bias']


def test_e07_two_maps_with_residuals_and_norms(layer):
  w, x, _, own, got = layer
  h = np.asarray(x + own)
  hidden = np.maximum(layer_norm(h, w['LayerNorm_1']) @ w['up']['kernel'] + w['up']['bias'], 0)
  close(got, h + hidden @ w['down']['kernel'] + w['down']['bias'], 1e-5)


def test_e10_e25_heads_are_projected_scaled_joined_and_projected_again(layer):
  w, x, bias, own, _ = layer
  x, w = layer_norm(x, w['LayerNorm_0']), w['Attention_0']
  q, k, v = (np.einsum('btd,dnh->btnh', x, w[name]['kernel']) for name in ('query', 'key', 'value'))
  order = np.arange(7)[None]
  seen = loops.visible(order, order, 0 * order, 0 * order, True, 0)
  args = dict(buckets=32, max_distance=128, bidirectional=False, scaled=True)
  heads = t5.attend(q / 16**0.5, k, v, order, order, seen, args, bias)
  close(own, heads.reshape(1, 7, 64) @ w['output']['kernel'].reshape(64, 64), 1e-5)
  ids, _ = absolute_lm.rows(b'Wait, what? ' * 6, np.array([0]))
  assert bytes(ids[0, :11].tolist()) == b'Wait, what?'  # punctuation is text


def test_e27_a_wrong_key_is_answered_with_the_right_one():
  with pytest.raises(UserError, match=r'num_heads: no such key; did you mean model\.heads'):
    run.parse(['posjax', '--config=configs/rope.py', '--config.model.num_heads=4'])


def test_e28_ids_are_integers_and_positions_are_added(each):
  logits, params = each
  with pytest.raises((TypeError, ValueError), match='integer'):
    logits(params, ids().astype(np.float32), absolute_lm.positions(64))
  x, pos, k = normal(1, 5, 64), np.arange(5)[:, None], np.arange(32)
  encoding = Bound(Sinusoidal().with_dims(absolute_lm.DIMS))
  found, _ = encoding.embed(jnp.asarray(x, 'float32'), absolute_lm.positions(5), ())
  angle = pos / 10_000 ** (2 * k / 64)
  close(found - x, np.stack([np.sin(angle), np.cos(angle)], -1).reshape(1, 5, 64), 2e-6)


def test_e29_targets_are_the_next_tokens_and_no_token_sees_them(each):
  x, targets = absolute_lm.rows(b'abcdefgh' * 20, np.array([0, 9]))
  assert [*x[0, :4]] == [*b'abcd'] and [*x[1, :4]] == [*b'bcde']
  np.testing.assert_array_equal(targets[:, :-1], x[:, 1:])
  logits, params = each
  x = ids()
  changed = x.copy()
  changed[:, 40] = (x[:, 40] + 1) % BYTES
  a, b = (logits(params, rows, absolute_lm.positions(64)) for rows in (x, changed))
  np.testing.assert_array_equal(a[:, :40], b[:, :40])
  assert np.all(np.abs(a[:, 40:] - b[:, 40:]).max((0, 2)) > 0)


def test_e08_e30_an_untrained_head_guesses(each):
  """With a head of zeros the loss is exactly ln V; with a random one a little more."""
  logits, params = each
  batch = ids(), ids()[:, ::-1]
  first = absolute_lm.cross_entropy(logits, params, batch)
  assert math.log(BYTES) < first < math.log(BYTES) + 1
  (name,) = (name for name in params if name.startswith('head'))
  silent = params | {name: jax.tree.map(jnp.zeros_like, params[name])}
  close(absolute_lm.cross_entropy(logits, silent, batch), math.log(BYTES), 1e-5)


def test_e30_the_printed_log_has_ten_classes():
  close(PRINTED_LOSS, math.log(10), 0.04)
  assert PRINTED_LOSS < math.log(64) < math.log(10_000)


def test_e33_the_vocabulary_does_not_bound_the_length(relative):
  logits, params = relative
  x = ids(length=96)
  long, short = (logits(params, x[:, :n], absolute_lm.positions(n)) for n in (96, 64))
  assert long.shape[-1] == BYTES and x.max() < BYTES
  close(long[:, :64], short, 1e-4)


def test_e35_relative_terms_are_in_the_score(absolute, relative):
  x = ids()
  for (logits, params), moves in ((absolute, True), (relative, False)):
    near, far = (logits(params, x, absolute_lm.positions(64, start)) for start in (0, 1000))
    assert (np.abs(near - far).max() > 0.1) if moves else np.abs(near - far).max() < 1e-4


def test_e35_rows_of_a_batch_do_not_mix(each):
  logits, params = each
  x, other = ids(), ids()
  other[1] = other[1, ::-1]
  a, b = (logits(params, rows, absolute_lm.positions(64)) for rows in (x, other))
  np.testing.assert_array_equal(a[0], b[0])
  assert np.abs(a[1] - b[1]).max() > 0.1


def test_e35_models_share_no_weights():
  a, b = INITIAL(0), INITIAL(1)
  kernels = lambda w: [x for x in jax.tree.leaves(w) if x.ndim > 1]
  assert all(not np.any(x == y) for x, y in zip(kernels(a), kernels(b), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize('program, moves', [(absolute_lm, True), (relative_lm, False)])
def test_e06_e26_e32_the_program_runs_and_learns(program, moves):
  """The token table is trained with all other weights; the optimizer's state is made from them."""
  params = program.initial()
  trained, _ = absolute_lm.train(program.logits, params, steps=20)
  same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), params, trained)
  assert not any(jax.tree.leaves(same))
  uniform, first, last, frequencies, near, far = absolute_lm.report(program.logits, params).values()
  assert uniform < first < uniform + 1
  assert last < frequencies - 0.5 and near < frequencies - 0.5
  assert far > near + 0.05 if moves else abs(far - near) < 1e-3


@pytest.mark.slow
def test_e30_a_vocabulary_of_ten_thousand_words():
  net = absolute_lm.MODEL.clone(vocabulary=10_000)
  params = net.init(jax.random.key(0), ids(), absolute_lm.positions(64))['params']
  logits = lambda params, x, at: net.apply({'params': params}, x, at)[0]
  first = absolute_lm.cross_entropy(logits, params, (ids(), ids()[:, ::-1]))
  assert math.log(10_000) < first < math.log(10_000) + 1


# The pages.


@pytest.mark.parametrize('page', PAGES)
def test_the_page_has_every_error_once(page):
  text = (ROOT / page).read_text()
  assert [*map(int, re.findall(r'^\| E(\d+) \|', text, re.MULTILINE))] == [*range(1, 40)]
  tests = {name for name in globals() if name.startswith('test_')}
  named = set(re.findall(r'`(test_e\w+)`', text))
  assert named == {name for name in tests if name.startswith('test_e')}
  for path, name in re.findall(r'`(tests/[\w/]+\.py)::(\w+)`', text):
    assert f'def {name}(' in (ROOT / path).read_text()
