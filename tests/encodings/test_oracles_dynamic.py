"""The oracles of content-dependent encodings against x-transformers, by hand, and by identities."""

import math

import numpy as np
import pytest

from tests.encodings.test_oracles import close, draw, everything, positions, softmax, tokens
from tests.oracles import alibi, attention, cope, dape, fox, nope, path, randomize, stick_breaking
from tests.support.stored import golden

# Four query heads, two key heads of three channels, and inputs of five channels.
N, K, H, D = 4, 2, 3, 5
ENCODINGS = {
  'fox': (fox, {'bias': 0.0}),
  'cope': (cope, {'rows': 3, 'scaled': True}),
  'cope unscaled': (cope, {'rows': 64, 'scaled': False}),
  'stick': (stick_breaking, {'remainder': True}),
  'stick without remainder': (stick_breaking, {'remainder': False}),
  'path': (path, {'rank': 2}),
  'dape of alibi': (dape, {'base': 'alibi', 'width': 6}),
  'dape of kerple': (dape, {'base': 'kerple', 'width': 6}),
  'dape of fire': (dape, {'base': 'fire', 'width': 6}),
  'randomize': (randomize, {'places': 2048, 'at_evaluation': True}),
}
each_encoding = pytest.mark.parametrize('name', ENCODINGS)


def weights_of(name):
  """Random weights; those of KERPLE and FIRE are for a base of DAPE."""
  shapes = {
    'fox': {'gate_LDN': (D, N), 'gate_bias_LN': (N,)},
    'cope': {'table_LHR': (H, 3)},
    'cope unscaled': {'table_LHR': (H, 64)},
    'path': {
      'down_LDR': (D, 2),
      'up_LRKH': (2, K, H),
      'taps_LRKH': (3, K, H),
      'beta_LDK': (D, K),
      'beta_bias_LK': (K,),
    },
    'kerple': {'r1_N': (N,), 'r2_N': (N,)},
    'fire': {
      'first_LR': (32,),
      'first_bias_LR': (32,),
      'second_LRN': (32, N),
      'second_bias_LN': (N,),
      'c_L': (),
      'multiplier_L': (),
    },
  }
  if name.startswith('dape'):
    out = {
      'scores_LNR': draw(1, N, 6),
      'biases_LNR': draw(2, N, 6),
      'hidden_bias_LR': draw(3, 6),
      'output_LRN': draw(4, 6, N),
      'output_bias_LN': draw(5, N),
    }
    base = weights_of(name.split()[-1])
    return {**out, 'static': base} if base else out
  return {key: draw(seed, *shape) for seed, (key, shape) in enumerate(shapes.get(name, {}).items())}


def problem(length, batch=2):
  """Returns random q, k, v and x of one sequence in self-attention."""
  return {
    'q': draw(10, batch, length, N, H),
    'k': draw(11, batch, length, K, H),
    'v': draw(12, batch, length, K, H),
    'x': draw(13, batch, length, D),
  }


def solve(name, p, weights=None, pos=None, segment=None, seen=None, args=None):
  """Returns the oracle's o, with the mask `seen`, or a causal mask within segments."""
  batch, length = p['x'].shape[:2]
  order = positions(batch, length)
  pos = order if pos is None else pos
  segment = np.zeros_like(order) if segment is None else segment
  if seen is None:
    seen = attention.visible(order, order, segment, segment, True, 0)
  k_end = {'x': p['x'], 'order': order, 'segment': segment}
  oracle, usual = ENCODINGS[name]
  weights = weights_of(name) if weights is None else weights
  ends = ({**k_end, 'v': p['v']}, k_end)
  return oracle.attend(p['q'], p['k'], p['v'], pos, pos, seen, args or usual, weights, ends)


def mixed(logits, p, seen):
  """Returns softmax attention with the logits [B,N,T,S]."""
  weight = softmax(np.where(seen[:, None], logits, -np.inf))
  return np.einsum('bnts,bsnh->btnh', weight, np.repeat(p['v'], N // K, 2))


def products(p):
  """Returns q_i . k_j as [B,N,T,S]."""
  return np.einsum('btnh,bsnh->bnts', p['q'], np.repeat(p['k'], N // K, 2))


def causal(length, batch=2):
  return np.tril(everything(batch, length, length))


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


# All encodings.


@each_encoding
def test_dynamic_encodings_do_not_change_the_input(name):
  oracle, args = ENCODINGS[name]
  x = draw(0, 2, 3, D)
  got = oracle.embed(x, positions(2, 3) + 5, args, weights_of(name))
  close(got, x, rtol=0, atol=0)
  assert got is not x


@each_encoding
def test_packed_documents_equal_documents_alone_in_the_oracles(name):
  p, segment = problem(7), np.array([[0, 0, 0, 1, 1, 1, 1]] * 2)
  pos = np.array([[0, 1, 2, 0, 1, 2, 3]] * 2)
  got = solve(name, p, pos=pos, segment=segment)
  for part in [slice(0, 3), slice(3, 7)]:
    close(got[:, part], solve(name, {key: value[:, part] for key, value in p.items()}))


@each_encoding
def test_the_future_does_not_matter(name):
  p = problem(6)
  first = solve(name, {key: value[:, :4] for key, value in p.items()})
  close(solve(name, p)[:, :4], first)


@each_encoding
def test_a_query_that_sees_nothing(name):
  p, segment = problem(4), np.array([[0, 0, 0, -1]] * 2)
  got = solve(name, p, segment=segment)[:, 3]
  own = np.repeat(p['v'][:, 3], N // K, 1)
  close(got, own if name == 'stick' else np.zeros_like(own))


@each_encoding
def test_a_masked_key_changes_nothing(name):
  p, weights, rest = problem(6), weights_of(name), [0, 1, 3, 4, 5]
  if name == 'path':
    weights['taps_LRKH'][:2] = 0  # The convolution reads it.
  seen = causal(6)
  seen[:, :, 2] = False
  got = solve(name, p, weights, seen=seen)[:, rest]
  pos = np.array([rest, rest])
  close(got, solve(name, {key: value[:, rest] for key, value in p.items()}, weights, pos=pos))


@each_encoding
def test_attention_depends_on_order_not_on_the_index(name):
  """Permuting the keys in the array changes nothing."""
  oracle, args = ENCODINGS[name]
  p, weights, turn = problem(5), weights_of(name), np.array([3, 0, 4, 1, 2])
  if name == 'path':
    weights['taps_LRKH'][:2] = 0  # The convolution goes by the index.
  order, seen = positions(2, 5), causal(5)
  q_end = {'x': p['x'], 'v': p['v'], 'order': order, 'segment': 0 * order}
  k_end = {'x': p['x'][:, turn], 'order': order[:, turn], 'segment': 0 * order}
  k, v, seen = p['k'][:, turn], p['v'][:, turn], seen[:, :, turn]
  got = oracle.attend(p['q'], k, v, order, order[:, turn], seen, args, weights, (q_end, k_end))
  close(got, solve(name, p, weights))


@each_encoding
def test_consecutive_query_heads_share_a_key_head(name):
  p, weights = problem(5), weights_of(name)
  got = solve(name, p, weights)
  for key, axis in {'up_LRKH': 1, 'taps_LRKH': 1, 'beta_LDK': 1, 'beta_bias_LK': 0}.items():
    if key in weights:
      weights[key] = np.repeat(weights[key], N // K, axis)
  many = {**p, 'k': np.repeat(p['k'], N // K, 2), 'v': np.repeat(p['v'], N // K, 2)}
  close(got, solve(name, many, weights))


@each_encoding
def test_fewer_queries_than_keys(name):
  oracle, args = ENCODINGS[name]
  p, order, seen, last = problem(6), positions(2, 6), causal(6), slice(4, 6)
  q_end = {'x': p['x'][:, last], 'v': p['v'][:, last], 'order': order[:, last]}
  k_end = {'x': p['x'], 'order': order, 'segment': 0 * order}
  ends, weights = ({**q_end, 'segment': 0 * order[:, last]}, k_end), weights_of(name)
  q, seen = p['q'][:, last], seen[:, last]
  got = oracle.attend(q, p['k'], p['v'], order[:, last], order, seen, args, weights, ends)
  close(got, solve(name, p)[:, last])


# Forgetting attention.


def fox_cumulated(p, weights):
  """Returns c_t, the sum of log gates up to t, as [B,N,S]."""
  gate = sigmoid(p['x'] @ weights['gate_LDN'] + weights['gate_bias_LN'])
  return np.cumsum(np.log(gate), 1).swapaxes(1, 2)


def test_fox_is_a_bias_per_key():
  p, weights = problem(7), weights_of('fox')
  bias = -fox_cumulated(p, weights)[:, :, None]
  close(solve('fox', p, weights), mixed(products(p) + bias, p, causal(7)))


def test_fox_with_keys_on_both_sides_counts_all_later_keys():
  p, weights = problem(5), weights_of('fox')
  c = fox_cumulated(p, weights)
  bias = (c[:, :, -1:] - c)[:, :, None]
  got = solve('fox', p, weights, seen=everything(2, 5, 5))
  close(got, mixed(products(p) + bias, p, everything(2, 5, 5)))


@pytest.mark.parametrize('window', [0, 3])
def test_fox_with_constant_gates_is_alibi(window):
  p, order = problem(7), positions(2, 7)
  seen = attention.visible(order, order, 0 * order, 0 * order, True, window)
  slopes = np.array(alibi.slopes(N, 8.0))
  # log sigmoid(-ln(e^m - 1)) = -m
  weights = {'gate_LDN': np.zeros((D, N)), 'gate_bias_LN': -np.log(np.expm1(slopes))}
  want = alibi.attend(p['q'], p['k'], p['v'], order, order, seen, {'bias_max': 8.0}, {})
  close(solve('fox', p, weights, seen=seen), want)


def test_fox_by_hand():
  # All products are 0 and all gates 1/2: the four keys weigh 1/8, 1/4, 1/2, 1, over their sum.
  p = {**problem(4, 1), 'q': np.zeros((1, 4, N, H))}
  weights = {'gate_LDN': np.zeros((D, N)), 'gate_bias_LN': np.zeros(N)}
  p['v'][0, :, :, 0] = [[15.0], [30.0], [60.0], [120.0]]
  got = solve('fox', p, weights)[0, 3, :, 0]
  close(got, np.full(N, 1.0 + 4 + 16 + 64))
  # The middle key and its gate are masked: 1/4, 1/2, 1.
  p['v'][0, :, :, 0] = [[7.0], [1e6], [14.0], [28.0]]
  got = solve('fox', p, weights, seen=np.array([[[1, 0, 1, 1]] * 4], bool))[0, 3, :, 0]
  close(got, np.full(N, 1.0 + 4 + 16))


def test_fox_gates_do_not_overflow():
  weights = {'gate_LDN': np.array([[1.0]]), 'gate_bias_LN': np.zeros(1)}
  got = fox.log_gates(np.array([[[-1e4], [0.0], [1e4]]]), weights)
  close(got, np.array([[[-1e4], [-math.log(2)], [0.0]]]))


# Contextual positions.


def cope_biases(z, seen):
  q, k = tokens(z['cope_p5_L7/q']), tokens(z['cope_p5_L7/k'])
  content = attention.dot(q / math.sqrt(6), k)
  p = cope.place(content, positions(2, 7), seen, 5)
  bias = cope.bias(q, z['cope_p5_L7/pos_emb'].T, p)
  return np.array(
    [[[[bias(b, n, i, j) for j in range(7)] for i in range(7)] for n in range(2)] for b in range(2)]
  )


@pytest.mark.parametrize(
  'part, seen', [('bias', causal(7)), ('bias_unmasked_gates', everything(2, 7, 7))]
)
def test_cope_x_transformers(part, seen):
  z = golden('cope')
  close(cope_biases(z, seen), z[f'cope_p5_L7/{part}'], 1e-12, 1e-14)


def test_cope_attends_like_x_transformers():
  z = golden('cope')
  q, k, v = tokens(z['cope_p5_L7/q']), tokens(z['cope_p5_L7/k']), draw(0, 2, 7, 2, 6)
  # The stored logits are the scaled products plus the bias.
  products = np.einsum('btnh,bsnh->bnts', q, k) / math.sqrt(6)
  want = z['cope_p5_L7/scores_causal']
  close(np.tril(products + z['cope_p5_L7/bias']), want)
  weight = softmax(np.where(causal(7)[:, None], want, -np.inf))
  args, end = {'rows': 5, 'scaled': False}, {'order': positions(2, 7)}
  weights = {'table_LHR': z['cope_p5_L7/pos_emb'].T}
  got = cope.attend(q / math.sqrt(6), k, v, None, None, causal(7), args, weights, (end, end))
  close(got, np.einsum('bnts,bsnh->btnh', weight, v))


def test_cope_with_open_gates_counts_the_keys():
  """Then p_ij = i - j + 1, and the bias is a learned vector per distance, up to the last row."""
  p = {**problem(6), 'q': draw(0, 2, 6, N, H) + [0, 0, 40], 'k': np.zeros((2, 6, K, H))}
  p['k'][..., 2] = 2  # All logits of a query are equal, and so large that the gates are 1.
  table = draw(1, H, 5)
  distance = np.arange(6)[:, None] - np.arange(6) + 1
  bias = np.einsum('btnh,hts->bnts', p['q'], table[:, np.clip(distance, 0, 4)])
  place = cope.place(attention.dot(p['q'], p['k']), positions(2, 6), causal(6), 64)
  for i in range(6):
    assert [place(1, 3, i, j) for j in range(i + 1)] == list(range(i + 1, 0, -1))
  got = solve('cope', p, {'table_LHR': table}, args={'rows': 5, 'scaled': True})
  close(got, mixed(products(p) + bias, p, causal(6)))


def test_cope_by_hand():
  # k = 0 makes every gate 1/2: the keys are at 1/2, 1, 3/2 and 2, the last row.
  q, zero = np.array([[[[1.0, 2.0]]]]), np.zeros((1, 5, 1, 2))
  table = np.array([[1.0, 2.0, 4.0], [0.0, 10.0, 30.0]])  # q . table = 1, 22, 64
  place = cope.place(attention.dot(q, zero), positions(1, 5), everything(1, 1, 5), 3)
  bias = cope.bias(q, table, place)
  assert [place(0, 0, 0, j) for j in range(5)] == [2, 2, 1.5, 1, 0.5]
  assert [bias(0, 0, 0, j) for j in range(5)] == [64, 64, 43, 22, 11.5]


@pytest.mark.parametrize('scaled', [True, False])
def test_cope_bias_with_and_without_the_factor(scaled):
  p, table = problem(5), draw(1, H, 64)
  gates = sigmoid(products(p)) * causal(5)[:, None]
  place = np.flip(np.cumsum(np.flip(gates, -1), -1), -1)
  # A hat around each row of the table interpolates between its neighbours.
  hat = np.maximum(0, 1 - np.abs(place[..., None] - np.arange(64)))
  bias = np.einsum('btnh,hr,bntsr->bnts', p['q'], table, hat) * (1 if scaled else math.sqrt(H))
  args = {'rows': 64, 'scaled': scaled}
  close(solve('cope', p, {'table_LHR': table}, args=args), mixed(products(p) + bias, p, causal(5)))


# Stick-breaking.


def test_stick_breaking_breaks_the_stick_from_the_nearest_key_on():
  p = problem(6)
  beta, own = sigmoid(products(p)), np.repeat(p['v'], N // K, 2)
  want, rest = np.zeros((2, 6, N, H)), np.zeros((2, 6, N, H))
  for b, i, n in np.ndindex(2, 6, N):
    stick = 1.0
    for j in range(i - 1, -1, -1):
      want[b, i, n] += stick * beta[b, n, i, j] * own[b, j, n]
      stick -= stick * beta[b, n, i, j]
    rest[b, i, n] = stick * own[b, i, n]
  close(solve('stick without remainder', p), want)
  close(solve('stick', p), want + rest)


def test_stick_breaking_in_log_space():
  p, strict = problem(6), np.tril(everything(2, 6, 6), -1)[:, None]
  z = products(p)
  suffix_sum = np.where(strict, -np.log1p(np.exp(z)), 0.0)  # log(1 - sigmoid(z))
  after = np.flip(np.cumsum(np.flip(suffix_sum, -1), -1), -1) - suffix_sum
  weight = np.where(strict, np.exp(after - np.log1p(np.exp(-z))), 0.0)
  want = np.einsum('bnts,bsnh->btnh', weight, np.repeat(p['v'], N // K, 2))
  close(solve('stick without remainder', p), want)


@pytest.mark.parametrize('seen', [causal(6), everything(2, 6, 6)])
def test_stick_breaking_rows_with_the_remainder_sum_to_one(seen):
  p = {**problem(6), 'v': np.ones((2, 6, K, H))}
  close(solve('stick', p, seen=seen), np.ones((2, 6, N, H)))


def test_stick_breaking_looks_back_only():
  p = problem(6)
  close(solve('stick', p, seen=everything(2, 6, 6)), solve('stick', p, seen=causal(6)))


def test_stick_breaking_by_hand():
  # Every key takes half of the remainder: 1/2, 1/4, 1/8; the query itself is no key.
  p = {**problem(4, 1), 'q': np.zeros((1, 4, N, H))}
  p['v'][0, :, :, 0] = [[8.0], [40.0], [200.0], [1000.0]]
  got = solve('stick without remainder', p)[0, :, :, 0]
  close(got, np.tile([[0.0], [4.0], [22.0], [111.0]], N))
  got = solve('stick', p)[0, :, :, 0]
  close(got, np.tile([[8.0], [24.0], [72.0], [236.0]], N))


def test_stick_breaking_without_own_values_drops_the_remainder():
  p, order = problem(3), positions(2, 3)
  end = {'order': order}
  got = stick_breaking.attend(
    p['q'], p['k'], p['v'], order, order, causal(3), {'remainder': True}, {}, (end, end)
  )
  close(got, solve('stick without remainder', p))


# PaTH.


def path_parts(p, weights):
  """Returns w [B,S,N,H] and beta [B,S,N] per query head, computed on arrays without loops."""
  u = np.einsum('btd,dr,rkh->btkh', p['x'], weights['down_LDR'], weights['up_LRKH'])
  u = np.pad(u, [(0, 0), (2, 0), (0, 0), (0, 0)])
  length = p['x'].shape[1]
  y = sum(weights['taps_LRKH'][d] * u[:, d : d + length] for d in range(3))
  a = y * sigmoid(y)
  w = a / np.sqrt(np.sum(a**2, -1, keepdims=True) + 1e-6)
  beta = 2 * sigmoid(p['x'] @ weights['beta_LDK'] + weights['beta_bias_LK'])
  return np.repeat(w, N // K, 2), np.repeat(beta, N // K, 2)


def test_path_updates_its_cached_keys():
  """Each new token updates all earlier keys; plain attention follows."""
  p, weights = problem(7), weights_of('path')
  w, beta = path_parts(p, weights)
  cache, logits = np.repeat(p['k'], N // K, 2), np.zeros((2, N, 7, 7))
  for t in range(7):
    past = cache[:, :t]
    along = np.einsum('bsnh,bnh->bsn', past, w[:, t])
    past -= (beta[:, None, t] * along)[..., None] * w[:, None, t]
    logits[:, :, t] = np.einsum('bnh,bsnh->bns', p['q'][:, t], cache)
  close(solve('path', p, weights), mixed(logits, p, causal(7)))


def test_path_by_a_triangular_inverse():
  p, weights = problem(7), weights_of('path')
  w, beta = (part.swapaxes(1, 2) for part in path_parts(p, weights))
  q, k = p['q'].swapaxes(1, 2), np.repeat(p['k'], N // K, 2).swapaxes(1, 2)
  scaled = beta[..., None] * w
  inverse = np.linalg.inv(np.eye(7) + np.tril(scaled @ w.swapaxes(2, 3), -1))
  moved = np.tril(q @ w.swapaxes(2, 3)) @ inverse @ np.tril(scaled @ k.swapaxes(2, 3), -1)
  close(solve('path', p, weights), mixed(products(p) - moved, p, causal(7)))


def test_path_with_beta_zero_is_plain_attention():
  p, weights = problem(5), {**weights_of('path'), 'beta_bias_LK': np.full(K, -1e4)}
  close(path.strengths(p['x'], weights), np.zeros((2, 5, K)), 0, 0)
  close(solve('path', p, weights), nope.attend(p['q'], p['k'], p['v'], 0, 0, causal(5), {}, {}))


def test_path_by_hand():
  # beta = 2 and w = (1, 0): every token after the key flips the sign of its first channel.
  one = {
    'down_LDR': [[1e6]],
    'up_LRKH': [[[1.0, 0.0]]],
    'taps_LRKH': [[[0.0, 0.0]], [[0.0, 0.0]], [[1.0, 1.0]]],
    'beta_LDK': [[0.0]],
    'beta_bias_LK': [1e3],
  }
  x, zero = np.ones((1, 4, 1)), np.zeros((1, 4), int)
  close(path.directions(x, zero, one), np.tile([1.0, 0.0], (1, 4, 1, 1)))
  q, v = np.ones((1, 4, 1, 2)), np.zeros((1, 4, 1, 2))
  k = np.array([[[[2.0, 1.0]], [[3.0, 1.0]], [[4.0, 1.0]], [[5.0, 1.0]]]])
  v[0, :, 0, 0] = [1.0, 10.0, 100.0, 1000.0]
  end = {'x': x, 'order': positions(1, 4), 'segment': zero}
  for hidden, logits in {-1: [-1.0, 4.0, -3.0, 6.0], 2: [3.0, -2.0, -math.inf, 6.0]}.items():
    seen = np.arange(4) != hidden
    got = path.attend(q, k, v, zero, zero, np.tile(seen, (1, 4, 1)), {'rank': 1}, one, ({}, end))
    close(got[0, 3, 0, 0], softmax(np.array(logits)) @ v[0, :, 0, 0])


def test_path_convolution_by_hand():
  # u = x: y_t = 100 x_(t-2) + 10 x_(t-1) + x_t within a document; w = SiLU(y) normalized.
  weights = {
    'down_LDR': np.eye(2),
    'up_LRKH': np.eye(2)[:, None],
    'taps_LRKH': np.array([100.0, 10.0, 1.0])[:, None, None] * np.ones((3, 1, 2)),
  }
  x = np.array([[[1.0, 4.0], [2.0, 3.0], [3.0, 2.0], [4.0, 1.0], [0.0, 0.0]]])
  got = path.directions(x, [[0, 0, 0, 5, 6]], weights)[0, :, 0]
  y = np.array([[1.0, 4.0], [12.0, 43.0], [123.0, 432.0], [4.0, 1.0], [0.0, 0.0]])
  a = y * sigmoid(y)
  close(got, a / np.sqrt((a**2).sum(-1, keepdims=True) + 1e-6))


# DAPE.


def base_biases(name, weights, length):
  """Returns the base's bias [N,T,S], computed on arrays without loops."""
  i, j = np.arange(length)[:, None], np.arange(length)
  if name == 'alibi':
    return -np.array(alibi.slopes(N, 8.0))[:, None, None] * np.abs(i - j)
  if name == 'kerple':
    r1, r2 = (np.log1p(np.exp(weights['static'][r]))[:, None, None] for r in ['r1_N', 'r2_N'])
    return -r1 * np.log(1 + r2 * np.abs(i - j))
  w = weights['static']
  longest = np.maximum(np.abs(w['multiplier_L'] * 512), i)
  x = np.log(1 + np.abs(w['c_L'] * (i - j))) / (np.log(1 + np.abs(w['c_L'] * longest)) + 1e-6)
  hidden = np.maximum(x[..., None] * w['first_LR'] + w['first_bias_LR'], 0)
  return np.moveaxis(hidden @ w['second_LRN'] + w['second_bias_LN'], -1, 0)


@pytest.mark.parametrize('base', ['alibi', 'kerple', 'fire'])
def test_dape_with_no_output_is_its_base(base):
  p, weights = problem(6), weights_of(f'dape of {base}')
  weights.update(output_LRN=np.zeros((6, N)), output_bias_LN=np.zeros(N))
  bias = base_biases(base, weights, 6)
  close(solve(f'dape of {base}', p, weights), mixed(products(p) + bias, p, causal(6)))


@pytest.mark.parametrize('base', ['alibi', 'kerple', 'fire'])
def test_dape_equals_array_code(base):
  p, weights = problem(6), weights_of(f'dape of {base}')
  both = [products(p), np.broadcast_to(base_biases(base, weights, 6), (2, N, 6, 6))]
  joined = np.concatenate([weights['scores_LNR'], weights['biases_LNR']])
  hidden = np.einsum('bmts,mr->btsr', np.concatenate(both, 1), joined) + weights['hidden_bias_LR']
  hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
  refined = np.einsum('btsr,rn->bnts', hidden, weights['output_LRN'])
  refined += weights['output_bias_LN'][:, None, None]
  close(solve(f'dape of {base}', p, weights), mixed(sum(both) + refined, p, causal(6)))


@pytest.mark.parametrize('heads', [1, 3, 8, 12])
def test_dape_alibi_is_alibi(heads):
  bias, slopes = dape.alibi(heads, None), alibi.slopes(heads, 8.0)
  for n in range(heads):
    assert bias(n, 9, 4) == bias(n, 4, 9) == alibi.bias(slopes[n], 9, 4)


def test_dape_kerple_by_hand():
  # softplus(ln(e - 1)) = 1 and softplus(ln(e^2 - 1)) = 2
  weights = {'r1_N': np.log(np.expm1([1.0, 2.0])), 'r2_N': np.log(np.expm1([2.0, 1.0]))}
  bias = dape.kerple(2, weights)
  got = np.array([bias(0, 5, 2), bias(0, 2, 5), bias(1, 5, 2), bias(1, 7, 7)])
  close(got, np.array([-math.log(7), -math.log(7), -2 * math.log(4), 0]))


def test_dape_fire_takes_the_published_inputs():
  """f is the identity here; the numbers come from the authors' formula with c = 0.1, L = 512."""
  weights = {
    'first_LR': [1.0],
    'first_bias_LR': [0.0],
    'second_LRN': [[1.0]],
    'second_bias_LN': [0.0],
    'c_L': 0.1,
    'multiplier_L': -1.0,
  }
  bias = dape.fire(1, weights)
  got = np.array([bias(0, i, j) for i, j in [(10, 0), (10, 5), (511, 0), (2047, 2046)]])
  close(got, np.array([0.17525475, 0.10251746, 0.99951492, 0.01789385]), 0, 5e-9)


# Randomized positions.


def test_randomize_by_hand():
  pos = np.array([[0, 1, 2, 0], [3, 2, 1, 0]])
  got = randomize.positions(pos, np.array([[4, 7, 19, 2000]]))
  close(got, np.array([[4, 7, 19, 4], [2000, 19, 7, 4]]))
  got = randomize.positions(pos, np.array([[4, 7, 19, 2000], [0, 1, 5, 6]]))
  close(got, np.array([[4, 7, 19, 4], [6, 5, 1, 0]]))


def test_randomize_with_the_first_numbers_changes_nothing():
  close(randomize.positions(positions(2, 6), np.arange(9)[None]), positions(2, 6))


def test_randomize_accepts_integers_of_any_type():
  close(randomize.positions(np.array([[2.0, 0.0]]), np.array([[4, 7, 19]])), np.array([[19, 4]]))


@pytest.mark.parametrize('pos', [-1, 3])
def test_randomize_refuses_positions_outside_its_draw(pos):
  with pytest.raises(IndexError, match=f'position {pos} outside a draw of 3'):
    randomize.positions(np.array([[pos]]), np.array([[4, 7, 19]]))


def test_randomize_attends_without_positions():
  p = problem(5)
  close(solve('randomize', p), nope.attend(p['q'], p['k'], p['v'], 0, 0, causal(5), {}, {}))
