"""Rotary variants against stored outputs of public code, and exact identities, in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.dims import Dims
from posjax.encodings import Bound, Positions
from posjax.encodings.fope import Fope, coefficients, kept, series
from posjax.encodings.parts.rotation import frequencies, rotate, rotate_by, rotate_heads
from posjax.encodings.pope import Pope
from posjax.encodings.rope import Rope
from posjax.encodings.rope_plus_plus import RopePlusPlus
from posjax.encodings.rotary_values import RotaryValues
from posjax.encodings.selective_rope import SelectiveRope, wind
from posjax.encodings.xpos import Xpos
from tests.encodings.test_oracles import tokens
from tests.oracles import fope as fope_oracle
from tests.oracles import pope as pope_oracle
from tests.oracles import rope_plus_plus as rope_plus_plus_oracle
from tests.oracles import rotary_values as rotary_values_oracle
from tests.oracles import selective_rope as selective_rope_oracle
from tests.support.problem import (
  CAUSAL,
  DIMS,
  FOURS,
  REFERENCE,
  attention,
  close,
  draw,
  place,
  segments,
)
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')

TIGHT = dict(rtol=1e-12, atol=1e-12)


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def fractions(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).uniform(-50, 50, size=shape))


def there(pos_BT, segment_ids=None):
  order = jnp.broadcast_to(jnp.arange(pos_BT.shape[1]), pos_BT.shape)
  ids = jnp.zeros_like(order) if segment_ids is None else jnp.asarray(segment_ids)
  return Positions(jnp.asarray(pos_BT)[..., None], order, ids)


def rotated(encoding, q_BTNH, k_BSKH, pos_BT, weights=None, features=()):
  """Returns queries and keys after the hooks; the queries' scale is divided out."""

  @jax.jit
  def solve(q_BTNH, k_BSKH, pos_BT, weights, features):
    bound, at = Bound(encoding.with_dims(dims), weights), there(pos_BT)
    q = bound.query(at.attach(q_BTNH * dims.scale, None, features)).h / dims.scale
    return q, bound.key(at.attach(k_BSKH, k_BSKH, features)).h

  dims = Dims(N=q_BTNH.shape[2], K=k_BSKH.shape[2], H=q_BTNH.shape[3], D=q_BTNH.shape[3])
  return solve(q_BTNH, k_BSKH, pos_BT, weights or {}, features)


def logits(q_BTNH, k_BSKH):
  """Returns q . k, where key heads have groups of equal size."""
  k_BSNH = jnp.repeat(k_BSKH, q_BTNH.shape[2] // k_BSKH.shape[2], axis=2)
  return jnp.einsum('BTNH,BSNH->BNTS', q_BTNH, k_BSNH)


# PoPE.


@pytest.mark.parametrize('library', ['xt', 'pope'])
def test_pope_equals_the_libraries(library):
  file = golden('pope')
  delta_KH, want = file['w:learned_bias'][:, 0].astype(np.float64), file[f'{library}/logits']
  q, k = tokens(file['q']), tokens(file['k'])
  assert (delta_KH > 0).any() and (delta_KH < -2 * math.pi).any()  # both ends of the clip
  got = logits(*rotated(Pope(), q, k, file['pos'], {'delta_LKH': jnp.asarray(delta_KH)}))
  close(got, want, **TIGHT)
  for b, n, i, j in np.ndindex(*want.shape):
    distance = file['pos'][b, i] - file['pos'][b, j]
    one = pope_oracle.product(q[b, i, n], k[b, j, n], delta_KH[n], distance, 10_000.0)
    np.testing.assert_allclose(one, want[b, n, i, j], 1e-12, 1e-12)


def test_pope_channels_are_those_of_x_transformers():
  file = golden('pope')
  weights = {'delta_LKH': jnp.asarray(file['w:learned_bias'][:, 0], jnp.float64)}
  q, k = rotated(Pope(), tokens(file['q']), tokens(file['k']), file['pos'], weights)
  close(q, tokens(file['xt/q']), **TIGHT)
  close(k, tokens(file['xt/k']), **TIGHT)


def test_pope_scores_depend_on_the_distance_alone_and_are_largest_where_it_is_delta():
  q, k, m = normal(1, 2, 5, 2, 8), normal(2, 2, 5, 2, 8), fractions(3, 2, 5)
  weights = {'delta_LKH': jnp.zeros((2, 8))}
  solve = lambda pos_BT: logits(*rotated(Pope(), q, k, pos_BT, weights))
  close(solve(m + 1000.25), solve(m), 1e-11, 1e-11)
  magnitudes = logits(jax.nn.softplus(q), jax.nn.softplus(k))
  close(solve(0 * m), magnitudes, **TIGHT)
  assert (solve(m) <= magnitudes + 1e-12).all()


def test_pope_clips_delta_to_one_rotation():
  q, k, m = normal(4, 1, 5, 2, 8), normal(5, 1, 5, 2, 8), fractions(6, 1, 5)
  solve = lambda delta: logits(
    *rotated(Pope(), q, k, m, {'delta_LKH': jnp.full((2, 8), delta)})
  )
  for delta in (3.0, -7.0, -2 * math.pi):  # a full rotation changes nothing
    close(solve(delta), solve(0.0), **TIGHT)
  slope = jax.jit(jax.jacobian(solve))
  assert not slope(3.0).any() and not slope(-7.0).any() and jnp.abs(slope(-3.0)).max() > 0.1


def test_pope_initial_delta_is_0_or_uniform():
  dims = Dims(N=4, K=4, H=64)
  first = lambda encoding: encoding.with_dims(dims).init_weights(jax.random.key(0))['delta_LKH']
  assert not first(Pope()).any()
  delta = first(Pope(uniform_delta=True))
  assert -2 * math.pi <= delta.min() < -6 and -0.3 < delta.max() <= 0


# xPos.


def test_xpos_of_distant_rows_equals_each_row_alone():
  """Checks float32, where zeta^-40000 is infinite.

  A query block of the first row meets masked keys 40,000 positions later: the rows also differ in
  order, so a block that either row may need is visited for both.
  """
  with jax.enable_x64(False):
    inputs = jax.tree.map(jnp.float32, draw(Xpos(), batch=2, queries=8, keys=8))
    pos_BT = np.array([[0, 1, 2, 3, 40_000, 40_001, 40_002, 40_003], np.arange(8)], np.int32)
    order = np.arange(8, dtype=np.int32) + np.array([[0], [100]], np.int32)
    at = Positions(jnp.asarray(pos_BT)[..., None], jnp.asarray(order), jnp.zeros((2, 8), jnp.int32))

    @jax.jit
    def solve(inputs, at):
      run = lambda inputs: attention(Xpos(), inputs, at, at, **CAUSAL, **FOURS)
      o, back = jax.vjp(run, inputs)
      return o, back(jnp.cos(o))[0]

    both = solve(inputs, at)
    rows = [solve(*jax.tree.map(lambda x, b=b: x[b : b + 1], (inputs, at))) for b in range(2)]
  close(both, jax.tree.map(lambda *x: jnp.concatenate(x), *rows), 1e-5, 1e-6)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(both))


# FoPE.


@pytest.mark.parametrize('case', ['d8', 'd16'])
def test_fope_equals_the_authors_code(case):
  file = {name.removeprefix(f'{case}/'): x for name, x in golden('fope').items()}
  x, (base, length) = tokens(file['x']), file['base_length']
  size, both = x.shape[3], np.stack([file['w:cos_coef'], file['w:sin_coef']]).astype(np.float64)
  theta = kept(frequencies(size, base), length)
  close(theta, file['inv_freq'][0], **TIGHT)
  np.testing.assert_allclose(fope_oracle.frequencies(size, base, length), theta, rtol=1e-14)
  pos = np.tile(np.arange(12.0), (2, 1))
  made = series(jnp.asarray(pos), theta, both, size // 2, 'ones', jnp.float64)
  close(rotate_heads(jnp.asarray(x), *made), tokens(file['x_rot']), **TIGHT)
  close(fope_oracle.turn(x, pos, theta, both, 'ones'), tokens(file['x_rot']), **TIGHT)
  # The distribution of the coefficients.
  heads, rows, columns = both.shape[1:]
  identity = coefficients(heads, rows, columns, 0.0, 7)
  close(identity, np.stack([file['identity']] * 2), **TIGHT)
  noise = coefficients(heads, rows, columns, 0.3, 7) - identity
  drawn = np.random.default_rng(7).normal(size=noise.shape)
  close(noise, 0.3 * math.sqrt(2 / file['fans'].sum()) * drawn, **TIGHT)


def test_fope_without_noise_is_rope_of_every_second_frequency():
  """Two of three remaining frequencies are used; the other two planes do not rotate."""
  q, k, pos = normal(7, 2, 5, 4, 8), normal(8, 2, 5, 2, 8), fractions(9, 2, 5)
  encoding = Fope(base=100.0, length=64, sigma=0.0, rest='identity')
  theta = np.array([1.0, 0.1, 0.0, 0.0])  # 100^(-i/4) for i = 0 and 2
  got = rotated(encoding, q, k, pos)
  close(got, tuple(rotate(x, pos, theta) for x in (q, k)), **TIGHT)


def test_fope_counts_the_other_planes_twice():
  q, k, pos = normal(10, 2, 5, 4, 8), normal(11, 2, 5, 2, 8), fractions(12, 2, 5)
  ones, identity = (
    logits(*rotated(Fope(base=100.0, length=64, rest=rest), q, k, pos))
    for rest in ('ones', 'identity')
  )
  rest = np.array([2, 3, 6, 7])
  close(ones - identity, logits(q[..., rest], k[..., rest]), **TIGHT)


# RoPE++.


def test_rope_plus_plus_equals_the_authors_code():
  file = golden('rope_plus_plus')
  q, k = tokens(file['q']), tokens(file['k'])
  # Projections of imaginary heads are not read.
  both = np.stack([q, np.full_like(q, np.nan)], axis=3).reshape(*q.shape[:2], -1, q.shape[3])
  got = rotated(RopePlusPlus(), jnp.asarray(both), jnp.asarray(k), file['pos'])
  close(got, (tokens(file['q_rot']), tokens(file['k_rot'])), **TIGHT)
  close(logits(*got), file['logits'], **TIGHT)
  for b, n, i, j in np.ndindex(*file['logits'].shape):
    distance = file['pos'][b, i] - file['pos'][b, j]
    parts = rope_plus_plus_oracle.parts(q[b, i, n // 2], k[b, j, n // 2], distance, 10_000.0)
    np.testing.assert_allclose(parts[n % 2], file['logits'][b, n, i, j], 1e-11, 1e-12)


def test_rope_plus_plus_imaginary_heads_are_rope_a_right_angle_behind():
  """One plane with theta 1, in groups of three heads: the third has no partner."""
  q, k, pos = normal(13, 2, 5, 6, 2), normal(14, 2, 5, 2, 2), fractions(15, 2, 5)
  got = rotated(RopePlusPlus(), q, k, pos)
  want = rotated(Rope(), q, k, pos)
  close(got[1], want[1], **TIGHT)
  real, imaginary = np.array([0, 2, 3, 5]), np.array([1, 4])
  close(got[0][:, :, real], want[0][:, :, real], **TIGHT)
  behind = rotate(q[:, :, imaginary - 1], pos - math.pi / 2, np.ones(1))
  close(got[0][:, :, imaginary], behind, **TIGHT)


def test_rope_plus_plus_needs_heads_that_share_a_key():
  with pytest.raises(ValueError, match='kv_heads must be less than heads, 4, such as 2'):
    RopePlusPlus().with_dims(Dims(N=4, K=4, H=8))


# Rotary values.


def test_rotary_values_equal_roformer():
  """RoFormer's table has float32 precision; given that table, the rotation is exact."""
  file = golden('rope_interleaved')
  v, want, table = (file[f'roformer/{part}'] for part in ('v', 'v_rot', 'table'))
  v, want, pos = tokens(v), tokens(want), np.arange(5)[None].repeat(2, 0)
  encoding = RotaryValues(layout='interleaved').with_dims(Dims(N=2, K=2, H=8))
  k = Bound(encoding, {}).key(there(pos).attach(jnp.asarray(v), jnp.asarray(v)))
  close(k.v, want, 3e-6, 3e-7)
  close(k.h, v, **TIGHT)
  sin, cos = np.split(table[None], 2, axis=-1)
  close(rotate_by(jnp.asarray(v), jnp.asarray(cos), jnp.asarray(sin), 'interleaved'), want, **TIGHT)
  for b, t, n in np.ndindex(*v.shape[:3]):
    one = rotary_values_oracle.turn(v[b, t, n], t, 10_000.0, 'interleaved')
    np.testing.assert_allclose(one, want[b, t, n], 3e-6, 3e-7)


@pytest.mark.parametrize('layout', ['half', 'interleaved'])
def test_rotary_values_with_back_rotate_the_output_back(layout):
  at = place(Rope(), segments('000000', '000111'))
  inputs = draw(RotaryValues(), batch=2, queries=6, keys=6)
  solve = lambda inputs: [
    attention(RotaryValues(layout=layout, back=back), inputs, at, at, **CAUSAL, **REFERENCE)
    for back in (False, True)
  ]
  plain, back = jax.jit(solve)(inputs)
  close(back, rotate(plain, -at.pos[..., 0], frequencies(DIMS.H), layout), **TIGHT)
  # A query that sees only itself returns its own value unchanged.
  own = jnp.repeat(inputs['v'], DIMS.N // DIMS.K, axis=2)
  close(back[:, 0], own[:, 0], **TIGHT)
  close(back[1, 3], own[1, 3], **TIGHT)


# Selective RoPE.

FORMS = {'plain': {}, 'gate': dict(gate=True), 'bias_gate': dict(bias=True, gate=True)}


def selective_weights(file, form, dims):
  """Returns the authors' parameters with the names and axes of the encoding."""
  own = {name.partition('/w:')[2]: x.astype(np.float64) for name, x in file.items() if
         name.startswith(f'{form}/w:')}
  K, C = dims.K, dims.H // 2
  weights = {
    'down_LDR': own['phi_proj.0.weight'].T,
    'up_LRKC': own['phi_proj.1.weight'].T.reshape(-1, K, C),
    'taps_LRKC': own['phi_conv1d.weight'][:, 0].T.reshape(-1, K, C),
  }
  if 'phi_bias' in own:
    weights['bias_LKC'] = own['phi_bias'][0, 0]
  if 'phase_gate_proj.weight' in own:
    weights['gate_LDK'] = own['phase_gate_proj.weight'].T
    weights['gate_bias_LK'] = own['phase_gate_proj.bias']
  return jax.tree.map(jnp.asarray, weights)


@pytest.mark.parametrize('form', FORMS)
def test_selective_rope_equals_the_authors_code(form):
  file, dims = golden('selective_rope'), Dims(N=2, K=2, H=8, D=12)
  x, q, k = (file[name].astype(np.float64) for name in ('x', 'q', 'k'))
  want = file[f'{form}/q_rot'], file[f'{form}/k_rot']
  encoding = SelectiveRope(rank=5, **FORMS[form]).with_dims(dims)
  bound = Bound(encoding, selective_weights(file, form, dims))
  close(frequencies(8, 500_000.0), file['temperature'], **TIGHT)
  at = there(np.zeros((2, 9)))
  state = encoding.init_state(2, 9, False, None).layer
  rotates, _ = jax.jit(bound.features)(jnp.asarray(x), at, state)
  ends = bound.query(at.attach(jnp.asarray(q), None, rotates)), bound.key(at.attach(k, k, rotates))
  got = tuple(end.h for end in ends)
  close(got, want, **TIGHT)
  args = dict(rank=5, base=500_000.0, bias='bias' in form, gate='gate' in form)
  phase = selective_rope_oracle.phases(x, np.zeros((2, 9), int), args, bound.weights)
  close(selective_rope_oracle.turn(q, phase, 500_000.0), want[0], **TIGHT)


def test_selective_rope_without_content_is_rope():
  """Each token adds exp(0) = 1 to every angle."""
  dims, x = Dims(N=4, K=2, H=8, D=8), normal(16, 2, 7, 8)
  encoding = SelectiveRope(rank=3, bias=True)
  weights = encoding.with_dims(dims).init_weights(jax.random.key(0))
  weights = jax.tree.map(lambda w: w.astype(jnp.float64), weights) | {
    'taps_LRKC': jnp.zeros((4, 2, 4))
  }
  q, k, pos = normal(17, 2, 7, 4, 8), normal(18, 2, 7, 2, 8), np.tile(np.arange(7), (2, 1))
  bound = Bound(encoding.with_dims(dims), weights)
  state = encoding.with_dims(dims).init_state(2, 7, False, None).layer
  rotates, _ = jax.jit(bound.features)(x, there(pos), state)
  got = rotated(encoding, q, k, pos, weights, rotates)
  want = rotated(Rope(base=500_000.0), q, k, pos + 1)
  close(got, want, **TIGHT)


def test_selective_rope_ignores_padding_and_restarts_in_each_document():
  """A call that ends within a document passes its state to the next call."""
  encoding = SelectiveRope(rank=5, bias=True, gate=True).with_dims(DIMS)
  bound = Bound(encoding, draw(encoding)['weights'])
  x, state = normal(19, 1, 12, DIMS.D), encoding.init_state(1, 12, False, None).layer
  phases = jax.jit(lambda x, ids, state: bound.features(x, there(jnp.zeros(ids.shape), ids), state))
  whole, last = phases(x, segments('...000001111'), state)
  close(whole[:, 3:8], phases(x[:, 3:8], segments('00000'), state)[0], **TIGHT)
  close(whole[:, 8:], phases(x[:, 8:], segments('1111'), state)[0], **TIGHT)
  ids = segments('...000001111')
  for cut in (4, 8):  # one within a document, one between two
    first, then = phases(x[:, :cut], ids[:, :cut], state)
    second, then = phases(x[:, cut:], ids[:, cut:], then)
    close(jnp.concatenate([first, second], axis=1), whole, **TIGHT)
    close(then, last, **TIGHT)


def test_phases_in_float32_do_not_lose_digits_as_their_sums_grow():
  """100,000 tokens of up to one rotation each, in one call and token by token."""
  steps = np.random.default_rng(20).uniform(-1, 1, size=100_000).astype(np.float32)
  exact = np.cumsum(steps, dtype=np.float64)
  error = lambda rotates: np.abs((np.asarray(rotates, np.float64) - exact + 0.5) % 1 - 0.5).max()
  assert error(np.cumsum(steps)) > 1e-3
  start = jnp.zeros((1, 1, 1), jnp.float32)
  steps_BTNC = jnp.asarray(steps)[None, :, None, None]
  at_once = jax.jit(wind)(start, steps_BTNC, jnp.zeros((1, 100_000), bool))
  assert at_once.dtype == jnp.float32 and error(at_once[0, :, 0, 0]) < 2e-5

  def token(rotates, step):
    rotates = wind(rotates, step[None, None, None, None], jnp.zeros((1, 1), bool))[:, 0]
    return rotates, rotates[0, 0, 0]

  _, one_by_one = jax.lax.scan(token, start, jnp.asarray(steps))
  assert error(one_by_one) < 2e-5
