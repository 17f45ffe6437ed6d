"""The oracles of relative encodings against stored outputs (tests/golden) and by hand."""

import math

import numpy as np
import pytest

from tests.encodings.test_oracles import close, draw, everything, positions, softmax, tokens
from tests.oracles import fire, kerple, shaw, t5, transformer_xl, xpos
from tests.support.stored import derived, golden

T5 = {'buckets': 32, 'max_distance': 128, 'bidirectional': False, 'scaled': True}
FIRE = {'length': 3, 'width': 5, 'shared': False}
XPOS = {'base': 10000.0, 'scale_base': 512.0, 'gamma': 0.4}


def fire_weights(shared, heads):
  """Returns arbitrary weights for FIRE: a hidden layer of 5, and a threshold of 6 positions."""
  arrays = [draw(3, 5), draw(4, 5), draw(5, 5, heads), draw(6, heads)]
  return dict(zip(fire.NAMES[shared], [*arrays, np.float64(0.7), np.float64(-2.0)], strict=True))


# Encodings with arguments and weights for 4 heads of 6 channels.
CASES = {
  't5': (t5, T5, {'table_RN': draw(3, 32, 4)}),
  't5 unscaled': (t5, {**T5, 'scaled': False}, {'table_RN': draw(3, 32, 4)}),
  'shaw': (
    shaw,
    {'clip': 2, 'with_values': True},
    {'keys_LRH': draw(3, 5, 6), 'values_LRH': draw(4, 5, 6)},
  ),
  'shaw keys': (shaw, {'clip': 2, 'with_values': False}, {'keys_LRH': draw(3, 5, 6)}),
  'transformer_xl': (
    transformer_xl,
    {},
    {'position_LDNH': draw(3, 8, 4, 6), 'u_NH': draw(4, 4, 6), 'v_NH': draw(5, 4, 6)},
  ),
  'fire': (fire, FIRE, fire_weights(False, 4)),
  'fire shared': (fire, {**FIRE, 'shared': True}, fire_weights(True, 4)),
  'kerple log': (kerple, {'kernel': 'log'}, {'r1_N': draw(3, 4), 'r2_N': draw(4, 4)}),
  'kerple power': (kerple, {'kernel': 'power'}, {'r1_N': draw(3, 4), 'r2_N': draw(4, 4)}),
  'xpos': (xpos, XPOS, {}),
}
each_encoding = pytest.mark.parametrize('oracle, args, weights', CASES.values(), ids=CASES)


def one_hot(keys, batch=2):
  """Returns values [batch, keys, 2, keys] that make the output the softmax itself."""
  return np.tile(np.eye(keys)[:, None], (batch, 1, 2, 1))


def causal(batch, queries, keys):
  """Returns a causal mask; the queries are the last of the keys."""
  return np.tril(everything(batch, queries, keys), keys - queries)


def attends_like(logits_of, oracle, args, weights, heads, q_pos, k_pos, seen):
  """Asserts that oracle.attend equals the softmax of logits_of(q . k [B,N,T,S])."""
  batch, queries, keys = seen.shape
  q, k, v = (draw(seed, batch, n, heads, 4) for seed, n in enumerate([queries, keys, keys]))
  logits = logits_of(np.einsum('btnh,bsnh->bnts', q, k))
  weight = softmax(np.where(seen[:, None], logits, -np.inf))
  got = oracle.attend(q, k, v, q_pos, k_pos, seen, args, weights)
  close(got, np.einsum('bnts,bsnh->btnh', weight, v), 1e-11, 1e-12)


# Properties of all encodings.


@each_encoding
def test_relative_encodings_do_not_change_the_input(oracle, args, weights):
  x = draw(0, 2, 3, 4)
  got = oracle.embed(x, positions(2, 3) + 5, args, weights)
  close(got, x, rtol=0, atol=0)
  assert got is not x


@each_encoding
def test_consecutive_query_heads_share_a_key_value_head(oracle, args, weights):
  q, k, v = draw(0, 2, 3, 4, 6), draw(1, 2, 5, 2, 6), draw(2, 2, 5, 2, 6)
  given = positions(2, 5)[:, 2:], positions(2, 5), causal(2, 3, 5), args, weights
  got = oracle.attend(q, k, v, *given, ends=None)
  close(got, oracle.attend(q, k.repeat(2, 2), v.repeat(2, 2), *given), 1e-12, 1e-12)


@each_encoding
def test_a_query_that_sees_no_key_gets_zero(oracle, args, weights):
  q, k, v = draw(0, 1, 2, 4, 6), draw(1, 1, 3, 4, 6), draw(2, 1, 3, 4, 6)
  seen = np.array([[[False, False, False], [True, True, False]]])
  got = oracle.attend(q, k, v, np.array([[1, 2]]), positions(1, 3), seen, args, weights)
  close(got[0, 0], np.zeros((4, 6)), rtol=0, atol=0)
  assert np.abs(got[0, 1]).min() > 0


# T5.


@pytest.mark.parametrize('buckets, max_distance', [(32, 128), (12, 50)])
@pytest.mark.parametrize('mode, bidirectional', [('bi', True), ('causal', False)])
def test_t5_buckets(buckets, max_distance, mode, bidirectional):
  z = golden('t5_bias')
  got = [t5.bucket(int(r), buckets, max_distance, bidirectional) for r in z['rel']]
  case = f'nb{buckets}_md{max_distance}'
  # The library's logarithm is float32; *_f64log uses float64. Integers lie exactly on bucket edges,
  # where rounding could separate the two; in this file it does not.
  for want in [z[f'bucket/{case}_{mode}'], z[f'bucket/{case}_{mode}_f64log']]:
    close(np.array(got, np.int16), want, rtol=0, atol=0)
  if bidirectional:
    close(np.array(got, np.int16), z[f'mpnet_bucket/{case}'], rtol=0, atol=0)


@pytest.mark.parametrize('buckets, max_distance', [(32, 128), (64, 256), (32, 256), (16, 128)])
def test_t5_buckets_in_integer_arithmetic(buckets, max_distance):
  for far in range(400):
    for side, bidirectional in [(buckets, False), (buckets // 2, True)]:
      half = side // 2
      # ln(m/E) / ln(d/E) (N-E) >= t without the logarithms; E and N-E are half of a side.
      steps = [t for t in range(half) if far**half * half**t >= max_distance**t * half**half]
      want = far if far < half else half + max(steps)
      assert t5.bucket(-far, buckets, max_distance, bidirectional) == want
      if bidirectional and far:
        assert t5.bucket(far, buckets, max_distance, True) == want + side


@pytest.mark.parametrize(
  'bidirectional, far',
  [
    (False, [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]),
    (True, [8, 12, 16, 23, 32, 46, 64, 91]),
  ],
)
def test_t5_first_distance_of_each_bucket_by_hand(bidirectional, far):
  want = [*range(len(far)), *far]
  for row, distance in enumerate(want):
    assert t5.bucket(-distance, 32, 128, bidirectional) == row
    assert t5.bucket(-distance - 1, 32, 128, bidirectional) == row + (distance + 1 in want)
  assert t5.bucket(-10000, 32, 128, bidirectional) == len(want) - 1


def test_t5_future_keys_by_hand():
  assert [t5.bucket(r, 32, 128, False) for r in [0, 1, 500]] == [0, 0, 0]
  assert [t5.bucket(r, 32, 128, True) for r in [0, 1, 7, 8, 500]] == [0, 17, 23, 24, 31]


def test_t5_fractions_by_hand():
  # Bucket 17 begins at 16 * 8^(1/16) = 18.22, between two integers.
  got = [t5.bucket(-m, 32, 128, False) for m in [0.9, 15.99, 16.5, 18.2, 18.3]]
  assert got == [0, 15, 16, 16, 17]
  assert [t5.bucket(m, 32, 128, True) for m in [0.5, -0.5, 7.5]] == [16, 0, 23]


@pytest.mark.parametrize('scaled', [True, False])
@pytest.mark.parametrize('mode, bidirectional', [('bi', True), ('causal', False)])
@pytest.mark.parametrize('queries, keys, past', [(7, 7, 0), (2, 12, 10)])
def test_t5_bias(mode, bidirectional, scaled, queries, keys, past):
  z = golden('t5_bias')
  table, want = z[f'bias_{mode}/table'], z[f'bias_{mode}/q{queries}_k{keys}_past{past}']
  q_pos, k_pos = positions(2, queries) + past, positions(2, keys)
  rows = [[t5.bucket(j - i, 32, 128, bidirectional) for j in k_pos[0]] for i in q_pos[0]]
  close(table[rows].transpose(2, 0, 1), want, rtol=0, atol=0)
  args = {**T5, 'bidirectional': bidirectional, 'scaled': scaled}
  # Heads of 4 channels: 1/sqrt(H) is undone by 2.
  logits = lambda product: (1 if scaled else 2) * product + np.float64(want)
  seen = everything(2, queries, keys) if bidirectional else causal(2, queries, keys)
  attends_like(logits, t5, args, {'table_RN': table}, 3, q_pos, k_pos, seen)


# Shaw.


def test_shaw_rows_by_hand():
  got = [shaw.row(5, j, 2) for j in range(9)]
  assert got == [0, 0, 0, 0, 1, 2, 3, 4, 4]


def test_shaw_rows_speecht5():
  z = golden('shaw_relative')
  # The library's row is clip(i - j, -5, 4) + 5; one row more makes the clip symmetric.
  table = z['speecht5_rel/table'][[9, *range(9, -1, -1)]]
  length = int(z['speecht5_rel/L'])
  rows = [[shaw.row(i, j, 5) for j in range(length)] for i in range(length)]
  close(np.float64(table)[rows], z['speecht5_rel/y'], rtol=0, atol=0)


def linear(x, z, name):
  return np.float64(x) @ np.float64(z[f'{name}.weight']).T + z[f'{name}.bias']


def shaw_layer(case, names, args, weights):
  """Compares the softmax and the output of a stored layer of two heads of 4 channels."""
  z = golden('shaw_relative')
  *parts, out = (f'{case}/w:{name}' for name in names)
  q, k, v = (linear(z[f'{case}/x'], z, part).reshape(2, 7, 2, 4) for part in parts)
  given = positions(2, 7), positions(2, 7), everything(2, 7, 7)
  probs = shaw.attend(q / 2, k, one_hot(7), *given, {**args, 'with_values': False}, weights)
  close(tokens(probs), z[f'{case}/probs'])
  y = shaw.attend(q / 2, k, v, *given, args, weights).reshape(2, 7, 8)
  close(linear(y, z, out), z[f'{case}/y'])


def test_shaw_keys_wav2vec2_bert():
  # Three rows to the left and two to the right: repeating the last row makes the clip 3.
  table = golden('shaw_relative')['key_l3_r2/w:distance_embedding.weight'][[*range(6), 5]]
  names = ['linear_q', 'linear_k', 'linear_v', 'linear_out']
  shaw_layer('key_l3_r2', names, {'clip': 3, 'with_values': False}, {'keys_LRH': table})


def test_shaw_keys_and_values_vits():
  z = golden('shaw_relative')
  # Zero outside the window of 2: clipping to 3 reads zero rows there.
  tables = {
    f'{name}_LRH': np.pad(z[f'vits_key_value_w2/w:emb_rel_{name[0]}'][0], [(1, 1), (0, 0)])
    for name in ['keys', 'values']
  }
  names = ['q_proj', 'k_proj', 'v_proj', 'out_proj']
  shaw_layer('vits_key_value_w2', names, {'clip': 3, 'with_values': True}, tables)


def test_shaw_by_hand():
  # Query at 4, keys at 1 and 5: rows 0 and 2. Logits ln 3 and 0 weigh 3/4 and 1/4.
  weights = {'keys_LRH': np.array([[math.log(3.0)], [50.0], [1.0]])}
  weights['values_LRH'] = np.array([[10.0], [1e6], [20.0]])
  q, k, v = np.ones((1, 1, 1, 1)), np.array([[[[0.0]], [[-1.0]]]]), np.array([[[[4.0]], [[8.0]]]])
  given = np.array([[4]]), np.array([[1, 5]]), everything(1, 1, 2)
  got = shaw.attend(q, k, v, *given, {'clip': 1, 'with_values': True}, weights)
  close(got, np.array([[[[0.75 * 14 + 0.25 * 28]]]]))


# Transformer-XL.


@pytest.mark.parametrize('memory', [0, 3])
def test_transformer_xl_sinusoids_xlnet(memory):
  want = golden('transformer_xl_relative')[f'xlnet_mem{memory}/pos_emb']
  got = [transformer_xl.sinusoid(r, 8) for r in range(4 + memory, -4, -1)]
  close(np.array(got), want)


@pytest.mark.parametrize('memory', [0, 3])
@pytest.mark.parametrize('mode', ['full', 'causal'])
def test_transformer_xl_xlnet(memory, mode):
  z = golden('transformer_xl_relative')
  case, keys = f'xlnet_mem{memory}', 4 + memory
  w = {key[8:]: np.float64(value) for key, value in z.items() if key.startswith('xlnet/w:')}
  # The library puts time before the batch.
  q = np.einsum('tbd,dnh->btnh', z[f'{case}/h'], w['q'])
  k, v = (np.einsum('sbd,dnh->bsnh', z[f'{case}/kv'], w[part]) for part in 'kv')
  weights = {'position_LDNH': w['r'], 'u_NH': w['r_w_bias'], 'v_NH': w['r_r_bias']}
  seen = everything(2, 4, keys) if mode == 'full' else causal(2, 4, keys)
  given = positions(2, 4) + memory, positions(2, keys), seen, {}, weights
  probs = transformer_xl.attend(q / 2, k, one_hot(keys), *given)
  close(probs.transpose(1, 3, 0, 2), z[f'{case}_{mode}/prob_ijbn'])
  vec = transformer_xl.attend(q / 2, k, v, *given)
  close(vec.swapaxes(0, 1), z[f'{case}_{mode}/vec'])
  for i in range(4):
    for j in range(keys):
      there = transformer_xl.key(i + memory - j, w['r'])
      got = np.einsum('bnh,nh->bn', q[:, i] + w['r_r_bias'], there)
      close(got, z[f'{case}/bd_shifted'][:, :, i, j])


def test_transformer_xl_conformer():
  z = golden('transformer_xl_relative')
  # The library's sines and cosines alternate: its projection's rows in the other order.
  sines_first = [0, 2, 4, 6, 1, 3, 5, 7]
  table = np.array([transformer_xl.sinusoid(r, 8) for r in range(3, -4, -1)])
  close(table, z['conformer/rel_pos'][:, sines_first])
  position = z['conformer/w:linear_pos.weight'].T[sines_first].reshape(8, 2, 4)
  weights = {'position_LDNH': position, 'u_NH': z['conformer/w:pos_bias_u']}
  weights['v_NH'] = z['conformer/w:pos_bias_v']
  q, k, v = (
    linear(z['conformer/x'], z, f'conformer/w:linear_{part}').reshape(2, 4, 2, 4) for part in 'qkv'
  )
  given = positions(2, 4), positions(2, 4), everything(2, 4, 4), {}, weights
  probs = transformer_xl.attend(q / 2, k, one_hot(4), *given)
  close(tokens(probs), z['conformer/probs'])
  y = transformer_xl.attend(q / 2, k, v, *given).reshape(2, 4, 8)
  close(linear(y, z, 'conformer/w:linear_out'), z['conformer/y'])


@pytest.mark.parametrize('memory', [0, 3])
@pytest.mark.parametrize('pre', [0, 1])
def test_transformer_xl_original_layer(pre, memory):
  z = golden('legacy_transfo_xl')
  case, layer = f'layer_pre{pre}_mem{memory}', f'layer_pre{pre}/w:'
  w = {
    key.removeprefix(layer): np.float64(value) for key, value in z.items() if key.startswith(layer)
  }
  keys = 4 + memory
  table = np.array([transformer_xl.sinusoid(r, 8) for r in range(keys - 1, -1, -1)])
  close(table, z[f'{case}/r'])

  def norm(x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * w['layer_norm.weight'] + w['layer_norm.bias']

  # The library puts time before the batch; the memory comes before the input.
  x = np.float64(z[f'{case}/x'])
  context = np.concatenate([z[f'{case}/mems'], x]) if memory else x
  qkv = (norm(context) if pre else context) @ w['qkv_net.weight'].T
  q, k, v = (part.reshape(keys, 2, 2, 4).swapaxes(0, 1) for part in np.split(qkv, 3, -1))
  weights = {
    'position_LDNH': w['r_net.weight'].T.reshape(8, 2, 4),
    'u_NH': w['r_w_bias'],
    'v_NH': w['r_r_bias'],
  }
  given = positions(2, 4) + memory, positions(2, keys), causal(2, 4, keys), {}, weights
  probs = transformer_xl.attend(q[:, memory:] / 2, k, one_hot(keys), *given)
  close(probs.transpose(1, 3, 0, 2), z[f'{case}/probs_ijbn'])
  out = transformer_xl.attend(q[:, memory:] / 2, k, v, *given).swapaxes(0, 1)
  y = x + out.reshape(4, 2, 8) @ w['o_net.weight'].T
  close(y if pre else norm(y), z[f'{case}/y'])


def test_transformer_xl_fractions_by_hand():
  # Width 4: the frequencies are 1 and 1/100.
  want = [math.sin(-2.5), math.sin(-0.025), math.cos(-2.5), math.cos(-0.025)]
  close(transformer_xl.sinusoid(-2.5, 4), np.array(want))


# FIRE.


def test_fire_ratios():
  # Computed with a public implementation, c = 0.1 and L = 512.
  want = {
    (10, 0): 0.17525475,
    (10, 5): 0.10251746,
    (511, 0): 0.99951492,
    (2047, 2046): 0.01789385,
  }
  for (i, j), number in want.items():
    assert abs(fire.ratio(i, j, 0.1, 512.0) - number) < 5e-9


@pytest.mark.parametrize('shared', [True, False])
def test_fire_bias(shared):
  z = {key.split('/')[-1]: value for key, value in golden('fire_formula').items()}
  assert z['eps'] == 1e-6
  layers = [np.float64(z[name]) for name in ['w1', 'b1', 'w2', 'b2']]
  layers[2] = layers[2].T
  limit = abs(z['L_multiplier'] * z['init_L'])
  got = [
    [fire.network(fire.ratio(i, j, z['c'], limit), *layers) for j in range(9)] for i in range(9)
  ]
  close(np.array(got).transpose(2, 0, 1), z['bias'])
  # A negative multiplier means its absolute value.
  arrays = [*layers, z['c'], -z['L_multiplier']]
  weights = dict(zip(fire.NAMES[shared], arrays, strict=True))
  args = {'length': z['init_L'], 'width': 8, 'shared': shared}
  # Fewer queries than keys, and the last queries are past the threshold.
  assert limit < 8
  bias = z['bias'][:, 4:]
  given = 2, positions(2, 9)[:, 4:], positions(2, 9), causal(2, 5, 9)
  attends_like(lambda product: product + bias, fire, args, weights, *given)


def test_fire_fractions_by_hand():
  # psi(1.5) / psi(4) with c = 2; the threshold is the larger.
  want = math.log(4) / (math.log(9) + 1e-6)
  close(np.array(fire.ratio(2.0, 0.5, 2.0, 4.0)), np.array(want))
  # Now the query is larger; a negative c makes no difference.
  want = math.log(2) / (math.log(10) + 1e-6)
  close(np.array(fire.ratio(4.5, 4.0, -2.0, 4.0)), np.array(want))


# KERPLE.


@pytest.mark.parametrize('mode', ['causal', 'bi'])
def test_kerple_log_nemo(mode):
  z = golden('kerple_sandwich')
  case = f'kerple/h3_{mode}'
  # The library stores r1 and r2 themselves, so invert softplus.
  r1, r2 = (np.log(np.expm1(z[f'{case}/{name}'])) for name in 'ba')
  want, seen = z[f'{case}/p1/q6_k6'], everything(2, 6, 6) if mode == 'bi' else causal(2, 6, 6)
  got = [
    [[kerple.bias('log', r1[n], r2[n], i, j) for j in range(6)] for i in range(6)] for n in range(3)
  ]
  # Under a causal mask the library has 0 for the keys after the query.
  close(np.where(seen[0], got, 0), want)
  given = 3, positions(2, 6), positions(2, 6), seen
  weights = {'r1_N': r1, 'r2_N': r2}
  attends_like(lambda product: product + want, kerple, {'kernel': 'log'}, weights, *given)


def test_kerple_log_by_hand():
  # softplus(0) = ln 2 and softplus(ln(e^2 - 1)) = 2.
  got = kerple.bias('log', 0.0, math.log(math.expm1(2.0)), 1.0, 4.5)
  close(np.array(got), np.array(-math.log(2) * math.log(8)))


@pytest.mark.parametrize(
  'raw, exponent', [(0.0, 1.0), (math.log(3.0), 1.5), (-math.log(3.0), 0.5), (50.0, 2.0)]
)
def test_kerple_power_by_hand(raw, exponent):
  r1 = math.log1p(math.e)  # softplus(1)
  for i, j in [(4, 4), (4, 3), (4, 0), (1, 3), (2.5, 0.25)]:
    got = kerple.bias('power', 1.0, raw, i, j)
    close(np.array(got), np.array(-r1 * abs(i - j) ** exponent))
  assert kerple.bias('power', 1.0, raw, 4, 4) == 0


def test_kerple_power_is_added_after_the_scale():
  # Exponent 2 sigmoid(0) = 1 and r1 = 1: a line of slope 1.
  pos = np.array([[0.0, 0.5, 3.0]])
  weights = {'r1_N': np.full(2, math.log(math.expm1(1.0))), 'r2_N': np.zeros(2)}
  bias = -np.abs(pos[0, :, None] - pos[0])
  given = 2, pos, pos, everything(1, 3, 3)
  attends_like(lambda product: product + bias, kerple, {'kernel': 'power'}, weights, *given)


# xPos.


@pytest.mark.parametrize(
  'queries, keys, start',
  [('xt_q', 'xt_k', 0), ('ret_q', 'ret_k', 0), ('ts_q', 'ts_k', 0), ('ts_q_offset', 'ts_k', 4)],
)
def test_xpos_products(queries, keys, start):
  z = {key.split('/')[1]: value for key, value in golden('xpos').items() if '/' in key}
  args = {**XPOS, 'scale_base': 128.0}
  want = derived('xpos', f'{queries} {keys}', z[queries] @ z[keys].swapaxes(2, 3))
  q, k = np.float64(z['q'])[:, :, start:], np.float64(z['k'])
  rows, columns = range(q.shape[2]), range(9)
  got = [
    [[xpos.product(q[0, n, i], k[0, n, j], start + i - j, **args) for j in columns] for i in rows]
    for n in range(2)
  ]
  close(np.array([got]), want)
  seen = causal(1, len(rows), 9)
  given = positions(1, 9)[:, start:], positions(1, 9), seen, args, {}
  probs = xpos.attend(tokens(q), tokens(k), one_hot(9, batch=1), *given)
  close(tokens(probs), softmax(np.where(seen, want, -np.inf)))


def test_xpos_by_hand():
  # Two pairs, gamma 1: zeta is 1/2 and 3/4. Base 16: the frequencies are 1 and 1/4.
  args = {'base': 16.0, 'scale_base': 2.0, 'gamma': 1.0}
  one, two = np.array([1.0, 0, 0, 0]), np.array([0, 0, 1.0, 0])
  for distance in [3.0, -1.5]:
    decay = distance / 2
    sin, cos = math.sin(distance), math.cos(distance)
    got = [xpos.product(one, k, distance, **args) for k in np.eye(4)]
    close(np.array(got), 0.5**decay * np.array([cos, sin, 0, 0]))
    sin, cos = math.sin(distance / 4), math.cos(distance / 4)
    got = [xpos.product(two, k, distance, **args) for k in np.eye(4)]
    close(np.array(got), 0.75**decay * np.array([0, 0, cos, sin]))


def test_xpos_at_large_positions():
  q, k, v = draw(0, 1, 4, 1, 6), draw(1, 1, 4, 1, 6), draw(2, 1, 4, 1, 6)
  near = xpos.attend(q, k, v, positions(1, 4), positions(1, 4), causal(1, 4, 4), XPOS, {})
  # A separate factor of the key would be 0.29^(-2^20/512), which overflows float64.
  far = positions(1, 4) + 2**20
  close(xpos.attend(q, k, v, far, far, causal(1, 4, 4), XPOS, {}), near)
