"""Temperatures: numbers of public libraries and papers, and special cases."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import attend
from posjax.dims import Dims
from posjax.encodings import Bound, Chain, Positions, arguments
from posjax.encodings.head_scale import HeadScale
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.encodings.ssmax import Ssmax
from posjax.encodings.temperature import KINDS, Temperature
from tests.oracles import ssmax
from tests.oracles import temperature as oracle
from tests.support.problem import (
  CAUSAL,
  DIMS,
  REFERENCE,
  ROWS,
  attention,
  close,
  draw,
  place,
  segments,
)
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')


def of_case(case):
  """Returns the arrays of one case."""
  file = golden('temperature')
  return {k.partition('/')[2]: x for k, x in file.items() if k.startswith(f'{case}/')}


def at_least_float32(x):
  return jnp.asarray(x, jnp.float64)


def factors(encoding, pos_BT, weights=None, heads=1):
  """Returns the factor on queries of ones, [B, T, N]."""
  bound = Bound(encoding.with_dims(Dims(N=heads, K=1, H=2)), weights or {})
  pos_BT = jnp.asarray(pos_BT)
  order = jnp.broadcast_to(jnp.arange(pos_BT.shape[1]), pos_BT.shape)
  at = Positions(pos_BT[..., None], order, jnp.zeros_like(order))
  return bound.query(at.attach(jnp.ones((*pos_BT.shape, heads, 2)))).h[..., 0]


# Public libraries.


def test_llama4_equals_a_layer_without_rope():
  case = of_case('llama4')
  dims = Dims(N=4, K=2, H=6)
  kind = Temperature(kind='llama4', length=int(case['floor_scale']), beta=float(case['attn_scale']))
  bound = Bound(kind.with_dims(dims))

  @jax.jit
  def layer(x_BTD):
    B, T, _ = x_BTD.shape
    weight = lambda name: at_least_float32(case[f'w:{name}_proj.weight'])
    project = lambda name: (x_BTD @ weight(name).T).reshape(B, T, -1, dims.H)
    row = jnp.arange(T)[None]
    at = Positions(row[..., None], row, jnp.zeros_like(row))
    q = bound.query(at.attach(project('q') * dims.scale))
    k = bound.key(at.attach(project('k'), project('v')))
    o_BTNH = attend(q, k, bound, **CAUSAL, **REFERENCE)
    return o_BTNH.reshape(B, T, -1) @ at_least_float32(case['w:o_proj.weight']).T

  got = layer(at_least_float32(case['x']))
  close(got, case['y'], 1e-12, 1e-13)


@pytest.mark.parametrize('length', [10, 8192])
def test_ministral_equals_transformers(length):
  case, pos = of_case(f'ministral3_L{length}'), of_case('ministral3')['position_ids']
  encoding = Temperature(kind='ministral', length=length, beta=float(case['beta']))
  close(factors(encoding, pos)[..., 0], case['factor'], 1e-14, 0)


def test_ssmax_with_a_bias_equals_mistral_large_4():
  case = of_case('mistral_large4')
  weights = {f'{name}_LN': at_least_float32(case[f'w:{name}']) for name in ('scale', 'bias')}
  bound = Bound(Ssmax(bias=True).with_dims(Dims(N=3, K=1, H=4)), weights)
  pos_BT = jnp.asarray(case['position_ids'])
  order = jnp.broadcast_to(jnp.arange(pos_BT.shape[1]), pos_BT.shape)
  at = Positions(pos_BT[..., None], order, jnp.zeros_like(order))
  close(bound.query(at.attach(at_least_float32(case['q']))).h, case['y'], 1e-13, 1e-14)


# Numbers by hand.


@pytest.mark.parametrize('kind, want', [
  # Steps of 8,192: the end of the first, and 131,072.
  ('llama4', {0: 1, 8190: 1, 8191: 1.0693147, 8192: 1.0693147, 16_383: 1.1098612,
              131_070: 1.2772589, 131_071: 1.2833213}),
  ('ministral', {0: 1, 8191: 1, 8192: 1.0693147, 16_384: 1.1098612, 131_072: 1.2833213}),
])
def test_steps_of_a_length(kind, want):
  got = factors(Temperature(kind=kind, length=8192), np.array([[*want]]))[0, :, 0]
  np.testing.assert_allclose(got, [*want.values()], rtol=0, atol=5e-8)


def test_log_n_is_the_logarithm_of_n_to_base_length():
  pos = np.array([[0, 3, 6, 7, 48, 342]])  # n is 1, 4, 7 = L, 8, L^2, L^3
  want = np.array([1, 1, 1, math.log(8, 7), 2, 3])
  close(factors(Temperature(length=7), pos)[0, :, 0], want, 1e-14, 0)


def test_drope_depends_only_on_the_two_lengths():
  """The default growth is the paper's for models trained from scratch."""
  for growth, given in ((0.412, {}), (0.103, dict(growth=0.103))):
    encoding = Temperature(kind='drope', length=1024, target=2048, **given)
    want = np.full((1, 2), 1 + growth * 0.6931471805599453)
    close(factors(encoding, np.array([[0, 5000]]))[..., 0], want, 1e-15, 0)


@pytest.mark.parametrize('kind', KINDS)
def test_negative_positions_have_the_factor_of_position_0(kind):
  """Encodings such as cape move tokens there; n is at least 1."""
  pos, encoding = np.array([[-7.5, -1, -0.5, 0, 2.5]]), Temperature(kind=kind, length=2)
  got = factors(encoding, pos)[0, :, 0]
  want = [oracle.factor_at(p, **arguments(encoding)) for p in pos[0]]
  close(got, np.array(want), 1e-14, 0)
  close(got[:3], np.full(3, got[3]), 0, 0)


def test_scalable_softmax_at_negative_positions_counts_one_key():
  pos, weights = np.array([[-7.5, -1, -0.5, 0, 2]]), dict(scale_LN=jnp.float64([0.5]))
  close(factors(Ssmax(), pos, weights)[0, :, 0], 0.5 * np.log([1, 1, 1, 1, 3]), 1e-15, 0)
  ones = np.ones((1, 5, 1, 2))
  seen, v = np.tril(np.ones((1, 5, 5), bool)), np.arange(10.0).reshape(1, 5, 1, 2)
  want = [v[0, : i + 1, 0].mean(axis=0) for i in range(4)]  # n = 1: equal weights
  got = ssmax.attend(
    ones, np.arange(5.0)[None, :, None, None] * ones, v, pos, pos, seen, dict(bias=False), weights
  )
  close(got[0, :4, 0], np.array(want), 1e-14, 0)


# Identities.


def at_places():
  return place(Nope(), segments(*ROWS))


def solve(*encodings, weights=None, at=None):
  """Returns the outputs of each encoding, causal, by `reference`."""
  weights = weights or [{}] * len(encodings)

  @jax.jit
  def run(inputs, at):
    return [
      attention(encoding, dict(inputs, weights=w), at, at, **CAUSAL, **REFERENCE)
      for encoding, w in zip(encodings, weights, strict=True)
    ]

  return run(draw(Nope()), at_places() if at is None else at)


def test_a_factor_of_one_is_nope():
  """No growth, no longer target, or no query far enough."""
  want, *got = solve(
    Nope(), Temperature(kind='uniform', factor=1.0), Temperature(kind='llama4', beta=0.0, length=2),
    Temperature(kind='drope', length=64, target=64), Temperature(length=64),
    Temperature(kind='llama4', length=64), Temperature(kind='ministral', length=64),
  )
  close(got, [want] * len(got), 1e-13, 1e-14)


def test_equal_learned_scales_equal_given_scales():
  """HeadScale and SSMax with a bias equal uniform; SSMax of 1 / ln L equals log n for n >= L."""
  alike = lambda x: jnp.full(DIMS.N, x)
  at = at_places()
  at = at.replace(pos=at.pos + 6)
  weights = [
    {}, dict(scale_LN=alike(1.7)), dict(scale_LN=alike(0.0), bias_LN=alike(1.7)),
    {}, dict(scale_LN=alike(1 / math.log(7))),
  ]
  one, *given, log_n, learned = solve(
    Temperature(kind='uniform', factor=1.7), HeadScale(), Ssmax(bias=True),
    Temperature(length=7), Ssmax(), weights=weights, at=at,
  )
  close(given, [one] * 2, 1e-13, 1e-14)
  close(learned, log_n, 1e-13, 1e-14)


def test_each_head_has_its_own_scale():
  pos, scale_N = np.array([[0, 1, 8]]), jnp.asarray([0.5, -2.0])
  weights = dict(scale_LN=scale_N)
  close(factors(HeadScale(), pos, weights, 2), np.tile(scale_N, (1, 3, 1)), 0, 0)
  want = np.log([1, 2, 9])[None, :, None] * np.asarray(scale_N)
  close(factors(Ssmax(), pos, weights, 2), want, 1e-15, 0)


def test_learned_scales_begin_at_the_given_start():
  made = lambda encoding: encoding.with_dims(DIMS).init_weights(jax.random.key(0))
  like = lambda x: np.full(DIMS.N, x, np.float32)
  close(made(HeadScale(start=1.25)), dict(scale_LN=like(1.25)), 0, 0)
  close(made(Ssmax(start=0.5)), dict(scale_LN=like(0.5)), 0, 0)
  close(made(Ssmax(bias=True)), dict(scale_LN=like(0.43), bias_LN=like(0.0)), 0, 0)


def test_temperature_commutes_with_rope():
  one = Temperature(kind='ministral', length=3, beta=0.7)
  want, got = solve(Chain((one, Rope())), Chain((Rope(), one)))
  close(got, want, 1e-13, 1e-14)


# Arguments.


@pytest.mark.parametrize('wrong, message', [
  (Temperature(kind='llama5'),
   "kind is 'llama5'; valid: log_n, llama4, ministral, drope, uniform"),
  (Temperature(length=1), 'length must be at least 2; it is 1'),
  (Temperature(kind='drope', length=0), 'length must be at least 1; it is 0'),
  (Temperature(kind='drope', target=0), 'target must be positive; it is 0'),
])
def test_wrong_arguments(wrong, message):
  with pytest.raises(ValueError) as error:
    wrong.with_dims(DIMS)
  assert str(error.value) == message
