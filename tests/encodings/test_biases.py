"""Score biases against stored outputs of libraries, by hand, and as special cases of others.

The checks of test_oracles_relative.py and test_identities_relative.py, for further biases and
further forms. All are exact in float64.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config
from posjax.attention import attend
from posjax.dims import Dims
from posjax.encodings import Bound, Chain, Pair
from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.cable import Cable
from posjax.encodings.dape import Dape
from posjax.encodings.fox import Fox
from posjax.encodings.hard_alibi import HardAlibi
from posjax.encodings.kerple import Kerple
from posjax.encodings.mlp_bias import MlpBias
from posjax.encodings.nope import Nope
from posjax.encodings.sandwich import Sandwich, in_common
from posjax.encodings.sinusoidal import sinusoid
from posjax.encodings.t5 import T5
from posjax.encodings.wavlm import Wavlm
from tests.attention.test_kernel import consecutive
from tests.conftest import title
from tests.encodings import test_encodings, test_equations
from tests.encodings.test_identities import count_places, fractions
from tests.encodings.test_identities_relative import solve
from tests.encodings.test_oracles import draw as normal
from tests.encodings.test_oracles import everything, positions
from tests.encodings.test_oracles_relative import linear
from tests.oracles import cable, hard_alibi, kerple, mlp_bias, sandwich, t5, wavlm
from tests.support.problem import (
  CAUSAL,
  DIMS,
  FIVES,
  REFERENCE,
  ROWS,
  attention,
  close,
  draw,
  segments,
)
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')


def table(of, heads, queries, keys):
  """Returns an oracle's bias [heads, queries, keys]; the queries are the last of the keys."""
  i = np.arange(keys - queries, keys)
  return np.array([[[of(n, i, j) for j in range(keys)] for i in i] for n in range(heads)])


def biases(encoding, weights, queries, keys, heads=3, **features):
  """Returns an encoding's bias, computed pair by pair and from distances."""
  bound = Bound(encoding.with_dims(Dims(N=heads, K=heads, H=4, D=4 * heads)), weights)
  q, k = (
    consecutive(keys - count, count).attach(jnp.zeros((1, count, heads, 4)), **features)
    for count in (queries, keys)
  )

  @jax.jit
  def both(bound, q, k):
    # As in blocks: the largest distance first, with room for one more.
    r = bound.distance_table(keys - 1.0 - jnp.arange(queries + keys))
    return bound.position_bias(q, k), bound.block_bias(q, k, r, nearest=-queries)

  by_pair, bias_from_table = both(bound, q, k)
  close(bias_from_table, by_pair)
  return np.asarray(by_pair[0])


# Forms that are not among the EXAMPLES of their file.

FORMS = [
  Alibi(factor=8**-0.5), Alibi(learned='alike'), T5(buckets=8, max_distance=40, bias_scale=1.5),
  Kerple(kernel='log3'), Kerple(kernel='weighted'), MlpBias(width=3, depth=1),
  Sandwich(width=4, base=10.0), HardAlibi(windowed=0), HardAlibi(windowed=6),
]


@pytest.mark.parametrize('form', FORMS, ids=title)
def test_a_form_equals_the_oracle(form):
  test_equations.test_cross_attention_equals_the_oracle(form)


@pytest.mark.slow
@pytest.mark.parametrize('form', FORMS, ids=title)
def test_a_form_in_blocks_equals_the_oracle(form):
  test_equations.test_cross_attention_in_blocks_equals_the_oracle(form)


@pytest.mark.slow
@pytest.mark.parametrize('form', FORMS[:-2], ids=title)
def test_a_form_keeps_the_contract(form):
  test_equations.test_self_attention_equals_the_oracle(form)
  test_encodings.test_blockwise_equals_reference(form)
  test_encodings.test_gradients_equal_finite_differences(form)
  test_encodings.test_packed_documents_equal_documents_alone(form)


# Encodings that equal another encoding at certain weights.

SLOPES = slopes(DIMS.N)
GATE, OFFSET, TABLE = normal(1, DIMS.D, DIMS.N), normal(2, DIMS.N), normal(3, 12, DIMS.N)
R1, R2 = normal(4, DIMS.N), normal(5, DIMS.N)

IDENTITIES = {
  'learned slopes start as ALiBi\'s':
    (Alibi(learned='alike'), dict(log_slope_RN=np.log(SLOPES)), Alibi(), {}),
  'CABLE is FoX with gates of the other sign': (
    Cable(scaled=True), dict(gate_LDN=GATE, gate_bias_LN=OFFSET),
    Fox(), dict(gate_LDN=-GATE, gate_bias_LN=-OFFSET),
  ),
  'KERPLE log3 of exponent 1 is log':
    (Kerple(kernel='log3'), dict(r1_N=R1, r2_N=R2, r3_N=0), Kerple(), dict(r1_N=R1, r2_N=R2)),
  'KERPLE that weighs nothing down is power': (
    Kerple(kernel='weighted'), dict(r1_N=R1, r2_N=R2, r3_N=-1000),
    Kerple(kernel='power'), dict(r1_N=R1, r2_N=R2),
  ),
  'a network whose last layer is 0 is NoPE': (MlpBias(width=5), dict(output_RN=0), Nope(), {}),
  'WavLM with gates of 1 is T5': (
    Wavlm(buckets=12, max_distance=40),
    dict(table_RN=TABLE, gate_LRH=0, gate_bias_LR=1000, constant_LN=0),
    T5(buckets=12, max_distance=40, bidirectional=True), dict(table_RN=TABLE),
  ),
  'hard ALiBi without windows is NoPE': (HardAlibi(windowed=0), {}, Nope(), {}),
  'DAPE whose network gives 0 is its base, arguments and all': (
    Dape(base='alibi', width=3, arguments=dict(bias_max=4, factor=0.5)), dict(output_LRN=0),
    Alibi(bias_max=4.0, factor=0.5), {},
  ),
}


@pytest.mark.parametrize('name', IDENTITIES)
def test_encodings_equal_others_at_certain_weights(name):
  encoding, weights, other, other_weights = IDENTITIES[name]
  inputs = draw(encoding)
  got, by_blocks = solve(encoding, inputs, **weights)
  want, _ = solve(other, dict(inputs, weights={}), **other_weights)
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


def test_learned_slopes_start_at_the_fixed_slopes():
  for learned, rows in (('alike', 1), ('apart', 2)):
    made = Alibi(learned=learned, factor=2.0).with_dims(DIMS).init_weights(jax.random.key(0))
    close(jnp.float64(jnp.exp(made['log_slope_RN'])), np.tile(2 * SLOPES, (rows, 1)), 1e-6, 0)


def test_alibi_with_separate_slopes_for_later_keys():
  """Two queries and three keys by hand; the second row of slopes is for keys after the query."""
  weights = dict(log_slope_RN=np.log([[0.5, 2.0], [3.0, 0.25]]))
  want = [[[-0.5, 0, -3.0], [-1.0, -0.5, 0]], [[-2.0, 0, -0.25], [-4.0, -2.0, 0]]]
  close(biases(Alibi(learned='apart'), weights, 2, 3, heads=2), np.array(want), 1e-15, 1e-15)


def test_alibi_scaled_with_the_content_as_in_falcon():
  """(q . k + b) / sqrt(H) is q . k / sqrt(H) and the slopes times 1/sqrt(H)."""
  inputs, at = draw(Alibi()), count_places(segments(*ROWS))
  larger = dict(inputs, q=inputs['q'] / DIMS.scale)

  class Falcon(Alibi):

    def score(self, s_BNTS, pair, carry):
      return (s_BNTS + pair.bias) * self.dims.scale, carry

  @jax.jit
  def both(inputs, larger):
    falcon = attention(Falcon(), larger, at, at, **CAUSAL, **REFERENCE)
    return attention(Alibi(factor=DIMS.scale), inputs, at, at, **CAUSAL, **REFERENCE), falcon

  got, want = both(inputs, larger)
  close(got, want, 1e-12, 1e-12)


# Hard ALiBi.


def test_hard_alibi_is_attention_with_a_window_for_each_head():
  encoding = HardAlibi(windowed=3)
  inputs, at = draw(encoding), count_places(segments(*ROWS))

  def windows(inputs):
    heads = [
      attention(Nope(), inputs, at, at, causal=True, window=w, **REFERENCE)[:, :, n]
      for n, w in enumerate((1, 2, 3, 0, 0, 0))
    ]
    return jnp.stack(heads, axis=2)

  @jax.jit
  def each(inputs):
    ways = [lambda x, way=way: attention(encoding, x, at, at, **CAUSAL, **way)
            for way in (REFERENCE, FIVES)]
    return [(o, pull(jnp.cos(o))) for o, pull in (jax.vjp(f, inputs) for f in (windows, *ways))]

  want, *found = each(inputs)
  for got in found:
    close(got, want, 1e-12, 1e-12)


@pytest.mark.parametrize('way', [REFERENCE, FIVES], ids=['reference', 'blockwise'])
def test_hard_alibi_gathers_nothing_where_no_key_is_in_the_window(way):
  """Keys are half a position away from the queries; the mask hides none."""
  encoding = HardAlibi(windowed=3)
  inputs, at = draw(encoding, batch=1), consecutive(0, 12)
  apart = at.replace(pos=at.pos + 0.5, consecutive=False)

  @jax.jit
  def run(inputs):
    o, pull = jax.vjp(lambda x: attention(encoding, x, at, apart, causal=False, **way), inputs)
    return o, pull(jnp.cos(o))[0]

  o_BTNH, gradient = run(inputs)
  # Head 1 sees only the key half a position back; the first query has no key before it.
  assert not o_BTNH[:, :, 0].any() and not o_BTNH[:, 0, :3].any()
  close(o_BTNH[:, 1:, 1], inputs['v'][:, :-1, 0])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_hard_alibi_oracle_by_hand():
  seen = [[hard_alibi.sees(n, 2, j, 2) for j in range(4)] for n in range(3)]
  assert seen == [[False, False, True, False], [False, True, True, False], [True] * 4]


def test_default_hard_alibi_fits_the_smallest_model():
  heads = min(size['model']['heads'] for size in config.base().SIZES.values())
  assert 0 < HardAlibi().with_dims(Dims(N=heads, K=1, H=4)).windowed < heads


# DAPE.


def test_dape_without_logits_commutes_with_hard_alibi():
  dape, windows = Dape(base='alibi', width=3), HardAlibi(windowed=3)
  before, after = Chain((windows, dape)), Chain((dape, windows))
  inputs = draw(before)
  inputs['weights']['dape']['scores_LNR'] *= 0
  (got, by_blocks), (want, _) = solve(before, inputs), solve(after, inputs)
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


def test_dape_reads_0_for_keys_that_a_head_does_not_see():
  dape = Dape(base='alibi', width=3)
  bound = Bound(dape.with_dims(DIMS), draw(dape)['weights'])
  s_BNTS, bias_BNTS = normal(1, 2, DIMS.N, 3, 4), normal(2, 1, DIMS.N, 3, 4)
  unseen = normal(3, *s_BNTS.shape) > 0
  score = lambda s: bound.score(s, Pair(q=None, k=None, mask=None, bias=bias_BNTS), ())[0]
  got = score(jnp.where(unseen, -jnp.inf, s_BNTS))
  close(got, jnp.where(unseen, -jnp.inf, score(jnp.where(unseen, 0, s_BNTS))), 1e-14, 1e-14)


# Sandwich.


@pytest.mark.parametrize('mode', ['causal', 'bi'])
def test_sandwich_nemo(mode):
  want = golden('kerple_sandwich')[f'sandwich/h3_d8_{mode}/q6_k6'][0]
  seen = np.tril(np.ones((6, 6))) if mode == 'causal' else np.ones((6, 6))
  args = dict(width=8, base=10_000.0, first=1)
  by_loops = table(lambda n, i, j: sandwich.bias(n, 3, i, j, **args), 3, 6, 6)
  for got in (by_loops, biases(Sandwich(**args), {}, 6, 6)):
    close(got * seen, want, 1e-12, 1e-15)


@pytest.mark.parametrize('first', [0, 1])
def test_sandwich_is_the_product_of_two_sinusoids(first):
  """For any width and base. If k begins at 1, each frequency is lower by base^(-2/width)."""
  i, j = fractions(1, 2, 5), fractions(2, 2, 7)
  width, base = 12, 100.0
  wave = lambda pos: sinusoid(pos * base ** (-2 * first / width), width, base, dtype=jnp.float64)
  want = jnp.einsum('BTD,BSD->BTS', wave(i), wave(j)) - width / 2
  close(in_common(i[:, :, None] - j[:, None], width, base, first), want, 1e-12, 1e-12)


def test_sandwich_of_the_usual_width_by_its_known_values():
  """Published values at distances 1 and 512, to four digits."""
  for first, want in ((0, ['-1.906', '-49.96']), (1, ['-1.447', '-47.96'])):
    got = in_common(jnp.array([1.0, 512.0]), 128, first=first)
    assert [f'{number:.4g}' for number in got.tolist()] == want


# The network of the distance.


@pytest.mark.parametrize('log', [False, True])
def test_mlp_bias_x_transformers(log):
  z, case = golden('dynamic_position_bias'), f'mlp_log{int(log)}'
  names = {
    'input_R': '0.0.weight', 'bias0_R': '0.0.bias', 'gain0_R': '0.1.gamma',
    'hidden1_RC': '1.0.weight', 'bias1_R': '1.0.bias', 'gain1_R': '1.1.weight',
    'shift1_R': '1.1.bias', 'output_RN': '2.weight', 'output_bias_N': '2.bias',
  }
  weights = {ours: np.float64(z[f'{case}/w:mlp.{name}']).T for ours, name in names.items()}
  weights['input_R'] = weights['input_R'][0]
  args = dict(width=8, depth=2, log=log, norm=True)
  by_loops = table(lambda n, i, j: mlp_bias.network(float(i - j), args, weights)[n], 3, 6, 6)
  for got in (by_loops, biases(MlpBias(**args), weights, 6, 6)):
    close(got, z[f'{case}/q6_k6'], 1e-12, 1e-13)


# T5's table times a number.


@pytest.mark.parametrize('causal', [True, False])
def test_t5_scaled_bias_x_transformers(causal):
  z = golden('dynamic_position_bias')
  case = f't5_xt_causal{int(causal)}'
  weights = {'table_RN': np.float64(z[f'{case}/table'])}
  encoding = T5(bidirectional=not causal, bias_scale=1.5)
  row = lambda i, j: t5.bucket(int(j - i), 32, 128, not causal)
  by_loops = table(lambda n, i, j: 1.5 * weights['table_RN'][row(i, j), n], 3, 5, 9)
  for got in (by_loops, biases(encoding, weights, 5, 9)):
    close(got, z[f'{case}/q5_k9'], 1e-12, 0)


# KERPLE with an exponent within the logarithm.


@pytest.mark.parametrize('mode', ['causal', 'bi'])
@pytest.mark.parametrize('kernel, part', [('log', 'p1'), ('log3', 'p')])
def test_kerple_nemo(mode, kernel, part):
  z = {
    key.removeprefix(f'kerple/h3_{mode}/'): value
    for key, value in golden('kerple_sandwich').items()
  }
  softplus_undone = lambda r: np.log(np.expm1(np.float64(r)))
  raw = [softplus_undone(z['b']), softplus_undone(z['a'])]
  if kernel == 'log3':
    p = np.float64(z['p_power'])
    raw.append(np.log(p / (2 - p)))
  weights = {f'r{i}_N': r for i, r in enumerate(raw, 1)}
  one = lambda n, i, j: kerple.bias(kernel, raw[0][n], raw[1][n], i, j, *[r[n] for r in raw[2:]])
  seen = np.tril(np.ones((6, 6))) if mode == 'causal' else np.ones((6, 6))
  for got in (table(one, 3, 6, 6), biases(Kerple(kernel=kernel), weights, 6, 6)):
    close(got * seen, z[f'{part}/q6_k6'], 1e-12, 1e-14)


def test_kerple_weight_by_hand():
  # softplus(ln(e - 1)) = 1 and 2 sigmoid(0) = 1; 2 sigmoid(ln 3) = 1.5.
  one = np.log(np.expm1(1.0))
  close(np.array(kerple.weight(one, 0.0, 5, 2)), np.exp(-3.0))
  close(np.array(kerple.weight(one, np.log(3.0), 2, 6)), np.exp(-8.0))
  assert kerple.weight(one, 0.3, 4, 4) == 1


# CABLE.


def test_cable_without_the_scale_has_larger_queries():
  inputs = draw(Cable())
  larger = dict(inputs, q=inputs['q'] / DIMS.scale)
  places = count_places(segments(*ROWS))

  @jax.jit
  def both(inputs, larger):
    # Only keys have gates, so queries are arbitrary.
    run = lambda encoding, x: attention(encoding, x, places, places, **CAUSAL, **REFERENCE)
    return run(Cable(), inputs), run(Cable(scaled=True), larger)

  close(*both(inputs, larger), 1e-12, 1e-12)


def test_cable_oracle_by_hand():
  """Zero weights give steps of -ln 2: the four keys weigh 1/8, 1/4, 1/2 and 1, over their sum."""
  weights = {'gate_LDN': np.zeros((5, 1)), 'gate_bias_LN': np.zeros(1)}
  order = positions(1, 4)
  end = {'x': normal(1, 1, 4, 5), 'order': order, 'segment': 0 * order}
  v = np.array([15.0, 30.0, 60.0, 120.0]).reshape(1, 4, 1, 1)
  k = normal(2, 1, 4, 1, 1)
  given = order, order, np.tril(everything(1, 4, 4)), {'scaled': False}, weights, (end, end)
  got = cable.attend(np.zeros((1, 4, 1, 1)), k, v, *given)
  close(got[0, 3], np.array([[1.0 + 4 + 16 + 64]]), 1e-12, 0)


# WavLM.


def test_wavlm_layer():
  """A complete layer with its projections, by the oracle and by the kernels."""
  z = golden('wavlm_gated_bias')
  weights = {
    'table_RN': z['w:rel_attn_embed.weight'], 'gate_LRH': z['w:gru_rel_pos_linear.weight'],
    'gate_bias_LR': z['w:gru_rel_pos_linear.bias'],
    'constant_LN': z['w:gru_rel_pos_const'].reshape(2),
  }
  weights = {name: np.float64(value) for name, value in weights.items()}
  x, args = np.float64(z['x']), dict(buckets=32, max_distance=64)
  q, k, v = (linear(x, z, f'w:{part}_proj').reshape(2, 9, 2, 4) for part in 'qkv')
  row = lambda i, j: wavlm.bucket(int(j - i), *args.values())
  by_loops = table(lambda n, i, j: weights['table_RN'][row(i, j), n], 2, 9, 9)
  encoding = Wavlm(**args)
  open_gates = jnp.ones((1, 9, 2))
  for got in (by_loops, biases(encoding, weights, 9, 9, heads=2, features=open_gates)):
    close(got, z['position_bias'], 1e-12, 0)
  given = positions(2, 9), positions(2, 9), everything(2, 9, 9), args, weights
  found = [wavlm.attend(q / 2, k, v, *given, ({'x': x}, {'x': x}))]
  bound, at = Bound(encoding.with_dims(Dims(N=2, K=2, H=4, D=8)), weights), consecutive(0, 9)

  @jax.jit
  def layer(bound, x, q, k, v):
    features, _ = bound.features(x, at, ())
    ends = bound.query(at.attach(q / 2, v, features)), bound.key(at.attach(k, v, features))
    return [attend(*ends, bound, causal=False, **way) for way in (REFERENCE, FIVES)]

  for o_BTNH in found + layer(bound, x, q, k, v):
    close(linear(np.reshape(o_BTNH, (2, 9, 8)), z, 'w:out_proj'), z['y'], 1e-11, 1e-12)


def test_wavlm_stores_no_gate_with_the_keys():
  encoding, at = Wavlm(buckets=12, max_distance=40), consecutive(0, 3)
  bound = Bound(encoding.with_dims(DIMS), draw(encoding)['weights'])
  h, gates = jnp.ones((1, 3, DIMS.K, DIMS.H)), jnp.ones((1, 3, DIMS.N))
  assert bound.key(at.attach(h, h, gates)).features == ()


# Invalid arguments.


@pytest.mark.parametrize('refused, said', [
  (Alibi(factor=0.0), 'factor must be positive'),
  (Alibi(learned='yes'), "learned is 'yes'; valid: no, alike, apart"),
  (Kerple(kernel='log4'), "kernel is 'log4'; valid: log, power, log3, weighted"),
  (Sandwich(width=7), 'width must be even, for pairs of sin and cos; it is 7'),
  (Sandwich(base=0.0), 'base must be positive; it is 0.0'),
  (Sandwich(first=2), 'first, the first k, must be 0 or 1; it is 2'),
  (Dape(arguments=dict(kernl='log')), r"arguments: kerple has no 'kernl' \(it has kernel\)"),
  (Dape(base='fire', arguments=dict(length='8')),
   "arguments: length must be of type int; it is '8'"),
  (Dape(base='fire', arguments=dict(length=0)), 'length and width must be positive; they are 0'),
  (Dape(arguments=dict(kernel='weighted')), "arguments: kernel 'weighted' is more than a bias"),
  (HardAlibi(windowed=7), 'windowed must be a number of heads, from 0 to 6; it is 7'),
  (MlpBias(depth=0), 'width and depth must be positive; they are 32 and 0'),
  (Wavlm(buckets=6), 'buckets must be a positive multiple of 4; it is 6'),
  (Wavlm(max_distance=80), 'max_distance must be more than 80, the number of near distances'),
])
def test_an_argument_is_refused(refused, said):
  with pytest.raises(ValueError, match=f'^{said}'):
    refused.with_dims(DIMS)


def test_wavlm_refuses_a_width_that_is_not_its_heads():
  with pytest.raises(ValueError, match='D = 32 must be N H = 48'):
    Wavlm().with_dims(Dims(N=6, K=2, H=8, D=32))
