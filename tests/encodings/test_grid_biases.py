"""Biases of positions with several axes: libraries' numbers, windows of Swin, tokens without place.

The contract compares them with tests/oracles on a line and on a grid, without such tokens.
"""

import functools
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import state
from posjax.attention import attend
from posjax.attention.mask import in_chunks
from posjax.dims import Dims
from posjax.encodings import Bound, Positions, name_of
from posjax.encodings.alibi import Alibi
from posjax.encodings.alibi_nd import AlibiNd
from posjax.encodings.core.tokens import NOWHERE
from posjax.encodings.log_cpb import LogCpb
from posjax.encodings.parts.grid_bias import differences, row_of_pairs
from posjax.encodings.swin import Swin
from posjax.encodings.t5 import T5
from posjax.encodings.t5_nd import T5Nd
from posjax.errors import UserError
from posjax.models.pattern import Pattern
from tests.conftest import title
from tests.encodings.test_oracles import draw, softmax
from tests.oracles import alibi_nd, log_cpb, swin, t5_nd
from tests.support.problem import GRID, close
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')

ORACLES = {'alibi_nd': alibi_nd, 'log_cpb': log_cpb, 'swin': swin, 't5_nd': t5_nd}
ENCODINGS = [
  AlibiNd(), AlibiNd(norm=1), T5Nd(buckets=8, max_distance=12), Swin(window=(4, 5)),
  Swin(window=(5,), class_rows=True), LogCpb(window=(4, 5), hidden=6, cosine=True),
  LogCpb(window=(5,), hidden=6, form='cr'),
]
each_encoding = pytest.mark.parametrize('encoding', ENCODINGS, ids=title)


def cells(*sizes, unplaced=0):
  """Returns the cells of a grid row by row, after tokens without a place: [T, P]."""
  pos = np.stack(np.indices(sizes), axis=-1).reshape(-1, len(sizes))
  return np.concatenate([np.full((unplaced, len(sizes)), NOWHERE), pos])


def place(pos_TP):
  order = jnp.arange(len(pos_TP), dtype=jnp.int32)[None]
  return Positions(jnp.asarray(pos_TP)[None], order, jnp.zeros_like(order))


def bound(encoding, weights, heads, **dims):
  dims = Dims(N=heads, K=heads, H=4, P=2, **dims)
  return Bound(encoding.with_dims(dims), jax.tree.map(jnp.float64, weights))


def biases(own, pos_TP):
  """Returns the biases of all pairs of positions, [N, T, S]."""
  tokens = place(pos_TP).attach(jnp.zeros((1, len(pos_TP), own.module.dims.N, 4)))
  return own.prepared().position_bias(tokens, tokens)[0]


@jax.jit
def both_ways(own, q, k):
  """Returns the outputs of an encoder in one pass, and in blocks of six tokens."""
  attended = functools.partial(attend, q, k, own, causal=False)
  return attended(implementation='reference'), attended(implementation='blockwise', block=6)


def random_weights(encoding, dims, seed=0):
  shapes = jax.eval_shape(encoding.with_dims(dims).init_weights, jax.random.key(0))
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape)), shapes)


# Numbers of libraries.

TABLES = [
  ('swin/3x3_h2', Swin((3, 3)), 0), ('swin/2x4_h3', Swin((2, 4)), 0),
  ('timm_cls/3x3_h2', Swin((3,), True), 1), ('timm_cls/2x4_h3', Swin((2, 4), True), 1),
  ('beit', Swin((3,), True), 1),
]


@pytest.mark.parametrize('case, module, unplaced', TABLES, ids=[case for case, *_ in TABLES])
def test_tables_of_swin_and_beit(case, module, unplaced):
  z = golden('swin_bias')
  table_RN, want = np.float64(z[f'{case}/table']), z[f'{case}/bias']
  want = want.reshape(want.shape[-3:])
  sizes = (2, 4) if '2x4' in case else (3, 3)
  pos_TP = cells(*sizes, unplaced=unplaced)
  close(biases(bound(module, {'table_LRN': table_RN}, len(want)), pos_TP), want, 1e-9, 1e-12)
  args = dict(window=sizes, class_rows=module.class_rows)
  oracle = np.array([[swin.bias(i, j, args, table_RN) for j in pos_TP] for i in pos_TP])
  close(oracle.transpose(2, 0, 1), want, 1e-9, 1e-12)
  if case.startswith('swin'):
    tokens = place(pos_TP).attach(jnp.zeros((1, len(pos_TP), 1, 4)))
    close(np.int64(row_of_pairs(tokens, tokens, sizes)[0]), z[f'{case}/index'], 0, 0)


@pytest.mark.parametrize('case, sizes', [('3x3_h2', (3, 3)), ('2x4_h3', (2, 4))])
def test_tables_of_maxvit(case, sizes):
  """These are [N, 2 M - 1, 2 M - 1] of key minus query; the file has the bias of the first head."""
  z = golden('swin_bias')
  table_NR = np.float64(z[f'timm_tf/{case}/table'])[:, ::-1, ::-1]
  table_NR = table_NR.reshape(len(table_NR), -1)
  own = bound(Swin(sizes), {'table_LRN': table_NR.T}, len(table_NR))
  close(biases(own, cells(*sizes))[0], z[f'timm_tf/{case}/bias'], 1e-9, 1e-12)


def network(z, prefix, first, second):
  """Returns the weights of LogCpb from a library's two linear layers."""
  w = lambda name: np.float64(z[f'{prefix}/w:{name}'])
  weights = {
    'hidden_LPC': w(f'{first}.weight').T, 'hidden_bias_LC': w(f'{first}.bias'),
    'output_LCN': w(f'{second}.weight').T,
  }
  if f'{prefix}/w:{second}.bias' in z:
    weights['output_bias_LN'] = w(f'{second}.bias')
  return weights


@pytest.mark.parametrize('form', ['swin', 'cr'])
@pytest.mark.parametrize('case, sizes', [('3x3_h2', (3, 3)), ('2x4_h3', (2, 4))])
def test_networks_of_timm(form, case, sizes):
  z, prefix = golden('swin_bias'), f'timm_mlp_{form}/{case}'
  weights, want = network(z, prefix, 'mlp.fc1', 'mlp.fc2'), z[f'{prefix}/bias']
  own = bound(LogCpb(sizes, hidden=16, form=form), weights, len(want))
  close(own.module.inputs().reshape(z[f'{prefix}/coords'].shape), z[f'{prefix}/coords'], 1e-9)
  close(biases(own, cells(*sizes)), want, 1e-9, 1e-12)
  args, pos_TP = dict(window=sizes, pretrained=(), hidden=16, form=form), cells(*sizes)
  oracle = np.array([[log_cpb.bias(i, j, args, weights) for j in pos_TP] for i in pos_TP])
  close(oracle.transpose(2, 0, 1), want, 1e-9, 1e-12)


@pytest.mark.parametrize('side, pretrained', [(3, ()), (4, (6,))])
def test_attention_of_swin_v2(side, pretrained):
  z, prefix = golden('swin_bias'), f'swinv2/w{side}_pre{pretrained[0] if pretrained else 0}_h2'
  mlp = 'continuous_position_bias_mlp'
  weights = network(z, prefix, f'{mlp}.0', f'{mlp}.2')
  weights['log_factor_LN'] = np.float64(z[f'{prefix}/w:logit_scale']).reshape(2)
  own = bound(LogCpb((side,), pretrained, cosine=True), weights, 2)
  pos_TP, T = cells(side, side), side**2
  table = z[f'{prefix}/coords_table']
  close(own.module.inputs().reshape(table.shape), table, 1e-9)
  close(biases(own, pos_TP), z[f'{prefix}/bias'], 1e-9, 1e-12)

  def linear(name):
    x = np.float64(z[f'{prefix}/x']) @ np.float64(z[f'{prefix}/w:{name}.weight']).T
    return jnp.asarray((x + z.get(f'{prefix}/w:{name}.bias', 0)).reshape(2, T, 2, 4))

  # Identity columns appended to the values return the softmax itself.
  v = jnp.concatenate([linear('value'), jnp.tile(jnp.eye(T)[:, None], (2, 1, 2, 1))], axis=-1)
  q = own.query(place(pos_TP).attach(linear('query') / 2, v))
  k = own.key(place(pos_TP).attach(linear('key'), v))
  for o_BTNH in both_ways(own, q, k):
    close(o_BTNH[..., :4].reshape(2, T, 8), z[f'{prefix}/y'], 1e-9, 1e-12)
    close(o_BTNH[..., 4:].swapaxes(1, 2), z[f'{prefix}/probs'], 1e-9, 1e-12)


# On a line, and in larger windows.


def line(encoding, weights, pos_T, causal):
  own = bound(encoding, weights, 6, D=48, causal=causal)
  own = own.replace(module=encoding.with_dims(Dims(N=6, K=6, H=4, D=48, causal=causal)))
  return biases(own, pos_T[:, None])


@pytest.mark.parametrize('causal', [True, False])
def test_on_a_line_they_are_alibi_and_t5(causal):
  pos_T = np.concatenate([np.arange(30), np.random.default_rng(0).uniform(-90, 300, size=20)])
  for norm in (1, 2):
    close(line(AlibiNd(norm), {}, pos_T, causal), line(Alibi(), {}, pos_T, causal), 0, 0)
  table_RN = draw(0, 12, 6)
  got = line(T5Nd(12, 50), {'table_PRN': table_RN[None]}, pos_T, causal)
  close(got, line(T5(12, 50), {'table_RN': table_RN}, pos_T, causal), 0, 0)
  assert len(np.unique(got[0])) == 12


def test_city_block_distances_are_alibi_on_each_axis():
  pos_TP = draw(1, 9, 2)
  by_axis = [line(Alibi(), {}, pos_T, False) for pos_T in pos_TP.T]
  own = bound(AlibiNd(norm=1), {}, 6)
  close(biases(own, pos_TP), by_axis[0] + by_axis[1])


def test_buckets_of_both_sides_on_each_axis():
  """An earlier token may be in a later column, also in a causal model."""
  own = bound(T5Nd(8, 40), {'table_PRN': draw(2, 2, 8, 3)}, 3, causal=True)
  got = biases(own, np.array([[0, 0], [0, 3], [3, 0], [3, 3]]))
  assert len(np.unique(got[0].round(9))) == 9  # three differences on each axis


def test_a_larger_window_needs_no_other_weights():
  weights = random_weights(LogCpb(hidden=9), GRID)
  small, large = (
    biases(bound(LogCpb((size,), (5,), hidden=9), weights, 6), cells(4, 4)) for size in (4, 64)
  )
  close(small, large)
  renormalized = biases(bound(LogCpb((64,), hidden=9), weights, 6), cells(4, 4))
  assert abs(renormalized - small).max() > 0.1


# Tokens without a place, and differences beyond the window.


def two_ways(encoding):
  """Returns oracle, outputs and gradients on a grid of 3 x 5 cells after two tokens without place.

  Two more cells, in row 7, are beyond the windows of the encodings above.
  """
  pos_TP = np.concatenate([cells(3, 5, unplaced=2), [[7, 0], [7, 4]]])
  T, weights = len(pos_TP), random_weights(encoding, GRID)
  x = [draw(seed, 2, T, heads, 8) for seed, heads in enumerate((6, 2, 2))]

  @functools.partial(jax.jit, static_argnames='way')
  def solve(weights, x, pos_TP, way):
    def run(weights, x, pos_TP):
      own, (q, k, v) = Bound(encoding.with_dims(GRID), weights), x
      q, k = own.query(place(pos_TP).attach(q, v)), own.key(place(pos_TP).attach(k, v))
      return attend(q, k, own, causal=False, implementation=way, block=4)

    o, pull = jax.vjp(run, weights, x, pos_TP)
    return o, pull(jnp.cos(o))

  pos_TP = pos_TP if encoding.whole_positions else pos_TP.astype(float)
  given = weights, [*map(jnp.asarray, x)], pos_TP
  found = [solve(*given, way) for way in ('reference', 'blockwise')]
  args = {'window': (), **{f: getattr(encoding, f) for f in encoding.__dataclass_fields__}}
  both = np.broadcast_to(pos_TP, (2, *pos_TP.shape))
  want = ORACLES[name_of(encoding)].attend(
    *x, both, both, np.ones((2, T, T), bool), args, jax.tree.map(np.asarray, weights)
  )
  return want, found


@each_encoding
def test_tokens_without_a_place(encoding):
  """In one pass and in blocks; gradients of positions, too, are finite and equal."""
  want, found = two_ways(encoding)
  for o, _ in found:
    close(o, want, 1e-10, 1e-10)
  float0 = lambda x: x.dtype == jax.dtypes.float0
  one, other = (jax.tree.leaves(gradient) for _, gradient in found)
  for got, same in zip(one, other, strict=True):
    if not float0(got):
      close(got, same)


@each_encoding
def test_a_token_without_a_place_has_no_bias(encoding):
  own = bound(encoding, random_weights(encoding, GRID), 6)
  bias_NTS = np.array(biases(own, cells(2, 3, unplaced=2)))
  assert np.ptp(bias_NTS[:, 2:, 2:], axis=(1, 2)).min() > 1e-3
  if getattr(encoding, 'class_rows', False):
    last_N3 = own.weights['table_LRN'][-3:].T
    for row, part in enumerate((np.s_[:, :2, 2:], np.s_[:, 2:, :2], np.s_[:, :2, :2])):
      close(bias_NTS[part], np.broadcast_to(last_N3[:, row, None, None], bias_NTS[part].shape))
  else:
    bias_NTS[:, 2:, 2:] = 0
    assert not bias_NTS.any()


@pytest.mark.parametrize('encoding', ENCODINGS[3:], ids=title)
def test_a_difference_beyond_the_window_has_no_row(encoding):
  own = bound(encoding, random_weights(encoding, GRID), 6)
  far = biases(own, np.array([[0, 0], [6, 0], [0, -5], [-6, 9]]))
  assert not far[:, ~np.eye(4, dtype=bool)].any() and np.all(far[:, 0, 0] != 0)


def test_the_model_refuses_a_grid_larger_than_the_window():
  model = lambda *fields: SimpleNamespace(
    patterns=[Pattern((Swin((4, 6)).with_dims(GRID),), (0,), ('swin',), *fields)]
  )
  state.check_limit(model(), (4, 6), 'train.length')
  with pytest.raises(UserError, match='is 6, and encoding.swin represents 4 x 6 positions'):
    state.check_limit(model(), (6, 6), 'train.length')
  state.check_limit(model((4,), (0, 2)), (64, 64), 'train.length')
  with pytest.raises(UserError, match='represents 4 x 6 positions'):
    state.check_limit(model((5,)), (64, 64), 'train.length')


@pytest.mark.parametrize('module, message', [
  (Swin((7, 7, 7)), r'window needs one number for all axes of positions, or one for each of their '
                    r'2; it is \(7, 7, 7\)'),
  (Swin(()), 'window needs one number'),
  (Swin((7, 0)), r'window must have positive integers; it is \(7, 0\)'),
  (Swin((7.5,)), 'window must have positive integers'),
  (LogCpb(pretrained=(8, 8, 8)), 'pretrained needs one number'),
  (LogCpb(hidden=0), 'hidden must be positive; it is 0'),
  (LogCpb(form='rw'), "form is 'rw'; valid: swin, cr"),
  (AlibiNd(norm=3), r'norm is 3; valid: 1 \(city-block\), 2 \(Euclidean\)'),
  (AlibiNd(bias_max=0.0), 'bias_max must be positive'),
  (T5Nd(buckets=6), 'buckets must be a positive multiple of 4; it is 6'),
])
def test_wrong_arguments_are_one_line(module, message):
  with pytest.raises(ValueError, match=message) as raised:
    module.with_dims(GRID)
  assert '\n' not in str(raised.value)


# Windows.


def swin_layer(q, k, v, table_RN, size, shift):
  """Swin's layer: roll the grid, attend within windows of `size` cells, and roll back.

  q, k and v are [side, side, N, H]. Regions that the roll has made neighbors do not see each other.
  """
  side, _, heads, _ = q.shape
  edges = [0, side - size, side - shift, side]
  region = np.searchsorted(edges, np.arange(side), 'right')
  roll = lambda x, by: np.roll(x, (by, by), axis=(0, 1))
  q, k, v = (roll(x, -shift) for x in (q, k, v))
  o = np.zeros_like(q)
  inside = [(a, b) for a in range(size) for b in range(size)]
  for top in range(0, side, size):
    for left in range(0, side, size):
      here = [(top + a, left + b) for a, b in inside]
      for y, x in here:
        logits = np.full((heads, len(here)), -np.inf)
        for j, (yy, xx) in enumerate(here):
          if not shift or (region[y], region[x]) == (region[yy], region[xx]):
            row = (y - yy + size - 1) * (2 * size - 1) + x - xx + size - 1
            logits[:, j] = np.einsum('nh,nh->n', q[y, x], k[yy, xx]) + table_RN[row]
        o[y, x] = np.einsum('nj,jnh->nh', softmax(logits), np.stack([v[cell] for cell in here]))
  return roll(o, shift)


@pytest.mark.parametrize('shift', [0, 2])
def test_chunks_and_shifts_are_the_windows_of_swin(shift):
  q, k, v = (draw(seed, 8, 8, 2, 4) for seed in range(3))
  table_RN, pos_TP = draw(3, 49, 2), cells(8, 8)
  own, at = bound(Swin((4,)), {'table_LRN': table_RN}, 2), place(pos_TP)
  at = in_chunks(at, at.pos, chunk=4, shift=shift)
  flat = lambda x: jnp.asarray(x.reshape(1, 64, 2, 4))
  tokens = at.attach(flat(q), flat(v)), at.attach(flat(k), flat(v))
  want = swin_layer(q, k, v, table_RN, 4, shift).reshape(1, 64, 2, 4)
  for o_BTNH in both_ways(own, *tokens):
    close(o_BTNH, want)


# Cost.


class Counted(LogCpb):
  made = []

  def derive(self):
    jax.debug.callback(lambda: self.made.append(1))
    return super().derive()


def grid_problem(encoding, *sizes):
  """Returns a function of weights, queries, keys and values, and its arguments."""
  at, dims = place(np.int32(cells(*sizes))), GRID

  def loss(weights, q, k, v):
    own = Bound(encoding.with_dims(dims), weights)
    q, k = own.query(at.attach(q, v)), own.key(at.attach(k, v))
    return jnp.sum(jnp.cos(attend(q, k, own, causal=False, implementation='blockwise')))

  x = [jnp.ones((1, math.prod(sizes), heads, 8), jnp.float32) for heads in (6, 2, 2)]
  weights = jax.tree.map(jnp.float32, random_weights(encoding, dims))
  return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3))), (weights, *x)


def test_the_table_is_made_once_not_once_per_pair_of_blocks():
  function, args = grid_problem(Counted((32, 8), hidden=5), 32, 8)  # 2 x 2 blocks of 128 tokens
  Counted.made.clear()
  jax.block_until_ready(function(*args))
  jax.effects_barrier()
  assert len(Counted.made) == 1


def test_a_table_sums_the_gradients_of_its_pairs():
  """Equal logits: each pair has weight 1/T, whose gradient follows from the values alone."""
  T, own = 12, bound(Swin((3, 4)), {'table_LRN': np.zeros((35, 1))}, 1)
  at, v = place(cells(3, 4)), jnp.asarray(draw(5, 1, T, 1, 4))
  zeros = jnp.zeros_like(v)

  def loss(weights):
    way = dict(causal=False, implementation='blockwise', block=5)
    o = attend(at.attach(zeros, v), at.attach(zeros, v), own.replace(weights=weights), **way)
    return jnp.sum(o)

  sums = np.asarray(v).sum((0, 2, 3))
  want = np.zeros(35)
  for i in cells(3, 4):
    for j, other in enumerate(cells(3, 4)):
      want[swin.row(i, other, (3, 4))] += (sums[j] - sums.mean()) / T
  close(jax.grad(loss)(own.weights)['table_LRN'][:, 0], want)


@pytest.mark.slow
@pytest.mark.parametrize('kind', [Swin, LogCpb])
def test_memory_is_linear_in_the_cells(kind):
  """Of a window that holds the grid: its table has about four rows for each cell."""
  def planned(*sizes):
    with jax.enable_x64(False):
      function, args = grid_problem(kind(sizes), *sizes)
      found = function.lower(*args).compile().memory_analysis().temp_size_in_bytes
    print(f'{kind.__name__} {sizes}: {found / 2**20:.1f} MiB')
    return found

  short, middle, long = planned(32, 32), planned(64, 64), planned(64, 128)
  assert math.log(middle / short, 4) <= 1.1 and math.log(long / middle, 2) <= 1.1


def test_differences_are_the_rows_of_the_table():
  for sizes in ((5,), (3, 4), (2, 3, 2)):
    pos_TP = cells(*sizes)
    tokens = place(pos_TP).attach(jnp.zeros((1, len(pos_TP), 1, 4)))
    row_TS = row_of_pairs(tokens, tokens, sizes)[0]
    close(differences(sizes)[row_TS], pos_TP[:, None] - pos_TP[None], 0, 0)
