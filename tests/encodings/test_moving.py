"""Encodings that move positions, against released code; their draws; counting text in parts."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings import Bound, Chain, Positions, arguments, find
from posjax.encodings.abacus import Abacus
from posjax.encodings.alibi import Alibi
from posjax.encodings.bipe import Bipe, bilevel
from posjax.encodings.cape import Cape, Moves, move
from posjax.encodings.coupling import Coupling
from posjax.encodings.interpolate import Interpolate
from posjax.encodings.learned import Learned
from posjax.encodings.parts.rotation import frequencies, rotate
from posjax.encodings.pose import Chunks, Pose
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.encodings.shift import Shift
from posjax.encodings.sinusoidal import sinusoid
from posjax.errors import UserError
from tests.conftest import title
from tests.oracles import abacus, bipe, cape, coupling, pose, shift
from tests.support.problem import DIMS, close, segments
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')

KEY = jax.random.key(5)


def text(*rows):
  """Returns rows of bytes, or of numbers, at positions 0, 1, 2, …"""
  ids = jnp.int32([list(row) for row in rows])
  order = jnp.arange(ids.shape[1], dtype=jnp.int32)[None]
  return Positions(order[..., None], order, jnp.zeros_like(ids), ids=ids)


def bind(encoding):
  encoding = encoding.with_dims(DIMS)
  return Bound(encoding, encoding.init_weights(KEY))


def placed(encoding, at, state):
  return bind(encoding).positions(at, state)[0]


def start(encoding, batch=1, capacity=64, train=False, rng=None):
  return encoding.with_dims(DIMS).init_state(batch, capacity, train, rng).sequence


def rows_of(encoding):
  """Returns a function (at, state) -> each token's table row [B, T], and the new state."""
  row_RD = jnp.arange(encoding.length)[:, None] * jnp.ones(DIMS.D)
  bound = Bound(encoding.with_dims(DIMS), {'table_RD': row_RD})

  def rows(at, state):
    x_BTD, state = bound.embed(jnp.zeros((*at.segment_ids.shape, DIMS.D)), at, state)
    return x_BTD[..., 0].astype(jnp.int32), state

  return rows


def uniform(values, low, high):
  """Asserts that integers are uniform over `low` to `high`."""
  counts = np.bincount(values, minlength=high + 1)[low:]
  assert values.min() == low and len(counts) == high + 1 - low
  mean = len(values) / len(counts)
  # Within five deviations of each count.
  assert np.abs(counts - mean).max() < 5 * mean**0.5


# SHAPE.


def test_shift_is_the_released_code():
  z = golden('moving')
  emb = z['shape/emb'].swapaxes(0, 1)
  encoding, there = Shift(offsets=20), text(*[b'............'] * 5)

  def embedded(state, at, emb):
    pos = placed(encoding, at, state)[..., 0]
    return emb * 8**0.5 + sinusoid(pos, 8, dtype=jnp.float64)

  want = {name: z[f'shape/{name}'].swapaxes(0, 1) for name in ('eval', 'eval_step7', 'train')}
  evaluation = start(encoding)
  close(embedded(evaluation, there, emb), want['eval'], 1e-12, 1e-12)
  seventh = jax.tree.map(lambda x: x[:, 7:8], there)
  close(embedded(evaluation, seventh, emb[:, :1]), want['eval_step7'], 1e-12, 1e-12)
  drawn = jnp.asarray(z['shape/train_offset'])
  close(embedded(drawn, there, emb), want['train'], 1e-12, 1e-12)


def test_shift_draws_for_each_row():
  k_B = np.asarray(start(Shift(offsets=9), 9000, train=True, rng=KEY))
  uniform(k_B, 0, 8)
  assert (start(Shift(offsets=9)) == 9).all()


# CAPE.


@pytest.mark.parametrize('name', ['text', 'normalized'])
def test_cape_is_the_released_code(name):
  """A public port of the code; the draws are PyTorch's."""
  z = golden('moving')
  mean = 4.5 if name == 'normalized' else 0.0
  part = lambda x: jnp.asarray(z[f'cape/{name}_{x}'])
  pos_BT1 = text(b'..........').pos
  drawn = Moves(part('delta')[:, 0] - mean, part('stretch')[:, 0], part('epsilon'))
  pe = lambda pos_BT1: sinusoid(pos_BT1[..., 0], 8, dtype=jnp.float64)
  close(pe(move(pos_BT1, drawn)), part('train'), 1e-12, 1e-12)
  evaluation = start(Cape(normalize=name == 'normalized'), capacity=10)
  close(jnp.repeat(pe(move(pos_BT1, evaluation)), 3, axis=0), part('eval'), 1e-12, 1e-12)


def test_cape_draws_within_its_bounds():
  state = start(Cape(5.0, 0.5, 1.03), 4000, 10, True, KEY)
  for values, end in (
    (state.shift, 5.0), (state.nudge, 0.5), (jnp.log(state.stretch), np.log(1.03))
  ):
    assert np.abs(values).max() <= end * (1 + 1e-6)
    uniform(np.int32(np.floor((np.asarray(values).ravel() / end + 1) * 4 * (1 - 1e-6))), 0, 7)
  pos_BT = move(text(b'..........').pos, state)[..., 0]
  assert (np.diff(pos_BT) > 0).all()  # half a position does not change the order


def test_cape_draws_for_first_tokens_do_not_depend_on_capacity():
  few, many = (start(Cape(), 3, capacity, True, KEY) for capacity in (5, 50))
  close(many.replace(nudge=many.nudge[:, :5]), few, 0, 0)


def test_cape_subtracts_the_mean():
  encoding = Cape(0.0, 0.0, 1.0, normalize=True)
  for train in (True, False):
    pos_BTP = placed(encoding, text(b'.........'), start(encoding, 1, 9, train, KEY))
    close(pos_BTP, jnp.arange(-4.0, 5)[None, :, None], 0, 0)


# Position interpolation.


def test_interpolation_is_linear_scaling():
  z = golden('rope_scaling')
  configs = json.loads(bytes(z['configs_json']))
  there, rng = text(b'....................'), np.random.default_rng(0)
  for case in ('linear0_d32', 'linear1_d32'):
    parameters = configs[case]['rope_parameters']
    width = 2 * len(z[f'{case}/inv_freq_f64'])
    encoding = Interpolate(factor=float(parameters['factor']))
    x_BTNH = rng.normal(size=(1, 20, 2, width))
    pos_BT = placed(encoding, there, ())[..., 0]
    got = rotate(x_BTNH, pos_BT, frequencies(width, parameters['rope_theta']))
    want = rotate(x_BTNH, there.pos[..., 0], z[f'{case}/inv_freq_f64'])
    close(got, want, 1e-12, 1e-12)


def test_interpolation_is_that_of_rotary_embedding_torch():
  z = golden('rope_interleaved')
  q_BTNH = z['cohere/q'].swapaxes(1, 2).astype(np.float64)
  pos_BTP = placed(Interpolate(factor=4.0), text(b'.....'), ())
  got = rotate(q_BTNH, pos_BTP[..., 0], frequencies(8), 'interleaved').swapaxes(1, 2)
  close(got, z['ret/q_rot_interpolate4'], 1e-12, 1e-12)


# PoSE.


def test_pose_is_the_released_code():
  z = golden('moving')
  cut, skip = z['pose/cut'], z['pose/skip']  # from, to, and the draw
  encoding, there = Pose(target=200), text(b'.' * 24)
  state = Chunks(*(jnp.int32(drawn[:, 2]) for drawn in (cut, skip)))
  close(placed(encoding, there, state)[..., 0], jnp.int32(z['pose/position_ids']), 0, 0)
  drawn = start(encoding, 60_000, 24, True, KEY)
  for values, ends in ((drawn.cut, cut[:, :2]), (drawn.skip, skip[:, :2])):
    assert (ends == ends[0]).all()
    uniform(np.asarray(values), *ends[0])


def test_pose_ends_below_its_target():
  for capacity, target in ((7, 20), (20, 20), (1, 5)):
    encoding = Pose(target=target)
    state = start(encoding, 5000, capacity, True, KEY)
    pos_BTP = placed(encoding, text(b'.' * capacity), state)
    assert pos_BTP.max() == (target - 1 if capacity > 1 else 0)


@pytest.mark.parametrize('mover', [Pose(target=5), Randomize(places=5, at_evaluation=False)])
def test_positions_that_only_training_moves_have_no_limit(mover):
  """Evaluation beyond the trained range uses plain positions."""
  there, chain = text(b'.' * 9), Chain((mover, Rope())).with_dims(DIMS)
  assert mover.limit is chain.limit is None
  assert mover.positions(there, start(mover))[0] is there.pos


def test_training_with_more_tokens_than_positions_is_refused():
  with pytest.raises(UserError, match='^randomize: 6 tokens do not fit into 5 places$'):
    start(Randomize(places=5, at_evaluation=False), capacity=6, train=True, rng=KEY)


def test_pose_keeps_positions_outside_of_training():
  there = text(b'.....')
  assert Pose().positions(there, start(Pose()))[0] is there.pos


def test_pose_under_interpolation():
  chain = Chain((Pose(target=200), Interpolate(factor=8.0), Rope())).with_dims(DIMS)
  state = chain.init_state(3, 12, True, KEY).sequence
  there = text(*[b'.' * 12] * 3)
  pos_BT = pose.positions(np.broadcast_to(there.pos[..., 0], (3, 12)), state[0])
  close(placed(chain, there, state)[..., 0], jnp.asarray(pos_BT / 8), 0, 0)


# Abacus.


def test_abacus_is_the_released_code():
  z = golden('moving')
  table_RD = jnp.asarray(z['abacus/w:embedding.weight'])
  there = text(*z['abacus/ids'])
  encoding = Abacus(length=40, max_offset=20)
  evaluation = start(encoding, 3)
  drawn = evaluation.replace(offset=jnp.int32([z['abacus/train_k']]))
  rows = lambda state: rows_of(encoding)(there, state)[0]
  close(rows(evaluation), jnp.int32(z['abacus/index']), 0, 0)
  for name, state in (('eval', evaluation), ('train', drawn)):
    close(table_RD[rows(state)], jnp.asarray(z[f'abacus/{name}']), 0, 0)


@pytest.mark.slow
def test_abacus_by_hand():
  there = text(b'12+305=615 7,0099')
  want = [1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 4]
  rows_BT, _ = rows_of(Abacus())(there, start(Abacus()))
  close(rows_BT, jnp.int32([want]), 0, 0)
  # The table is two rows short: the last digit shares the row of the digit before.
  rows_BT, _ = rows_of(Abacus(length=4, max_offset=0))(there, start(Abacus()))
  close(rows_BT, jnp.int32([want]).clip(max=3), 0, 0)


def test_abacus_draws_once_per_batch():
  encoding = Abacus(max_offset=6)
  draw = lambda rng: start(encoding, 4, train=True, rng=rng).offset
  k = np.asarray(jax.vmap(draw)(jax.random.split(KEY, 3500)))
  assert k.shape == (3500, 1)
  uniform(k[:, 0], 0, 6)
  assert start(encoding).offset == 0


# Position coupling.


@pytest.mark.slow
def test_coupling_is_the_released_code():
  for row in json.loads(bytes(golden('moving')['coupling/reversed_json'])):
    there, state = text(row['text'].encode()), start(Coupling())
    state = state.replace(start=jnp.int32([row['start']]))
    close(placed(Coupling(), there, state)[0, :, 0], jnp.int32(row['positions']), 0, 0)


def test_coupling_by_hand():
  there = text(b'321+54=573\n9+9=81.')
  want = [2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 0, 2, 1, 2, 1, 2, 3, 0]
  close(placed(Coupling(), there, start(Coupling()))[..., 0], jnp.int32([want]), 0, 0)


def test_coupling_draws_for_each_row():
  uniform(np.asarray(start(Coupling(starts=8), 8000, train=True, rng=KEY).start), 1, 8)


# BiPE.


@pytest.mark.slow
def test_bipe_is_the_released_code():
  z = golden('moving')
  there = text(*z['bipe/ids'])
  encoding = Bipe(separators=(869, 13), length=9)
  sentence_BT, place_BT, _ = bilevel(there, encoding.separators, start(encoding, 3))
  close(sentence_BT, jnp.int32(z['bipe/sentence']), 0, 0)
  close(place_BT, jnp.int32(z['bipe/place']), 0, 0)
  assert place_BT.max() > 8  # beyond the table: the last row is used
  close(placed(encoding, there, start(encoding, 3))[..., 0], sentence_BT, 0, 0)
  rows_BT, _ = rows_of(encoding)(there, start(encoding, 3))
  close(rows_BT, jnp.int32(z['bipe/place_clipped']), 0, 0)


def test_bipe_alibi_is_the_released_code():
  """The released code has m g_j for - m (g_i - g_j), which differ by a constant per query."""
  z = golden('moving')
  encoding = Bipe(separators=(869, 13), step=96)
  there = text(*z['bipe/ids'])
  there = there.replace(pos=placed(encoding, there, start(encoding, 3)))
  ends = there.attach(jnp.zeros((3, 30, DIMS.N, DIMS.H)))
  bias_BNTS = Bound(Alibi().with_dims(DIMS)).position_bias(ends, ends)
  off = bias_BNTS - jnp.asarray(z['bipe/alibi_bias'])
  causal = np.tri(30, dtype=bool)
  close(jnp.where(causal, off, 0), jnp.where(causal, off[..., :1], 0), 1e-12, 1e-9)


def test_bipe_by_hand():
  there = text(b'Ab. c\n\nd.')
  want = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (3, 1)]
  numbers = bilevel(there, Bipe().separators, start(Bipe()))[:2]
  close(jnp.stack(numbers, axis=-1), jnp.int32([want]), 0, 0)
  close(placed(Bipe(step=96), there, start(Bipe()))[..., 0], 96 * jnp.int32(want)[None, :, 0], 0, 0)


# Counts: a text in parts equals the entire text.

DOCUMENTS = ('000000000000000000000000', '000000001111111122222222', '.....00000000111111111..')
def with_position(encoding):
  """As `rows_of`, with the position before the row, as the oracle of abacus returns it."""

  def count(at, state):
    row_BT, state = rows_of(encoding)(at, state)
    return jnp.stack([at.pos[..., 0], row_BT], axis=-1), state

  return count


def of_two_levels(encoding):
  """Returns a function (at, state) -> (position for attention, index in the sentence), state."""

  def count(at, state):
    sentence_BT, place_BT, state = bilevel(at, encoding.separators, state)
    return jnp.stack([encoding.step * sentence_BT, place_BT], axis=-1), state

  return count


# Oracle, encoding, and the counts to compare.
COUNTING = {
  'abacus': (abacus, Abacus(digits=(1, 2, 3, 4, 5), length=12, max_offset=7), with_position),
  'coupling': (coupling, Coupling(digits=(1, 2, 3, 4, 5), operators=(6, 7), starts=9),
               lambda encoding: bind(encoding).positions),
  'bipe': (bipe, Bipe(separators=(1, 2), length=9, step=3), of_two_levels),
}


def random_text(seed):
  there = text(*np.random.default_rng(seed).integers(9, size=(3, 24)))
  there = there.replace(segment_ids=segments(*DOCUMENTS))
  return jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape[1:])), there)


@pytest.mark.parametrize('name', COUNTING)
@pytest.mark.parametrize('parts', [(24,), (1,) * 24, (8, 8, 1, 7)], ids=len)
def test_counts_of_a_text_in_parts_equal_counts_of_the_entire_text(name, parts):
  oracle, encoding, counts = COUNTING[name]
  positions = jax.jit(counts(encoding))
  for seed in range(3):
    there = random_text(seed)
    state = first = start(encoding, 3, train=True, rng=jax.random.key(seed))
    got = []
    for begin, end in itertools.pairwise(np.cumsum([0, *parts])):
      pos, state = positions(jax.tree.map(lambda x, s=slice(begin, end): x[:, s], there), state)
      got.append(pos)
    pos_BT, ids, segment_ids, first = jax.tree.map(
      np.asarray, (there.pos[..., 0], there.ids, there.segment_ids, first)
    )
    want = oracle.positions(pos_BT, first, arguments(encoding), ids, segment_ids)
    got, real = np.concatenate(got, axis=1), segment_ids >= 0
    assert (got[real] == want.reshape(got.shape)[real]).all()


@pytest.mark.parametrize('name', COUNTING)
def test_padding_is_not_counted(name):
  """Padding before a text, within it, or filling a call alone."""
  _, encoding, counts = COUNTING[name]
  there = jax.tree.map(lambda x: np.asarray(x[:1]), random_text(7))
  state = start(encoding, train=True, rng=KEY)
  positions = jax.jit(counts(encoding))
  want, left = positions(there, state)
  pad = lambda x, value: np.insert(x, np.array([0, 0, 4, 4, 4, 11, 24]), value, axis=1)
  padded = jax.tree.map(lambda x: pad(x, 1), there).replace(segment_ids=pad(there.segment_ids, -1))
  got, after = positions(padded, state)
  close(got[:, padded.segment_ids[0] >= 0], want, 0, 0)
  close(after, left, 0, 0)
  close(positions(jax.tree.map(lambda x: x[:, :1], padded), left)[1], left, 0, 0)


@pytest.mark.parametrize('oracle, mover', [
  (shift, Shift(offsets=3000)), (cape, Cape(max_scale=1.4)), (pose, Pose(target=90)),
], ids=['shift', 'cape', 'pose'])
def test_each_row_is_moved_by_its_own_draw(oracle, mover):
  there = random_text(0)
  state = start(mover, 3, 24, True, KEY)
  got = placed(mover, there, state)[..., 0]
  want = oracle.positions(np.asarray(there.pos[..., 0]), jax.tree.map(np.asarray, state))
  close(got, jnp.asarray(want), 1e-12, 1e-12)
  assert len(np.unique(np.asarray(got[:, -1]))) == 3


# Range of moved positions.


@pytest.mark.parametrize('train', [True, False], ids=['training', 'evaluation'])
@pytest.mark.parametrize('mover', [
  Shift(offsets=7), Coupling(digits=(1,), starts=5), Bipe(separators=(1,), step=3),
  Pose(target=40), Randomize(places=14), Randomize(places=14, at_evaluation=False),
  Abacus(digits=(1,)), Cape(), Cape(local_shift=0.0, global_shift=0.0), Interpolate(factor=2.0),
], ids=title)
def test_farthest_and_fractions_are_as_declared(mover, train):
  there, rngs = text([1] * 12), jax.random.split(KEY, 5)
  states = [start(mover, 300, 12, train, rng) for rng in rngs]
  places = np.concatenate([placed(mover, there, state)[..., 0] for state in states])
  assert np.issubdtype(places.dtype, np.floating) == mover.fractions
  if not mover.fractions:
    assert places.max() == mover.farthest(11, train)


TABLE = Learned(length=64)


@pytest.mark.parametrize('chain, limit', [
  (Chain((Shift(offsets=40), TABLE)), 24), (Chain((TABLE, Shift(offsets=40))), 24),
  (Chain((Coupling(starts=30), TABLE)), 62), (Chain((Bipe(step=9), TABLE)), 8),
  (Chain((Shift(offsets=40), Bipe(step=1), TABLE)), 24), (Chain((Randomize(places=64), TABLE)), 64),
  (Chain((Shift(offsets=40), Randomize(places=50), TABLE)), 10),
  (Chain((Abacus(), TABLE)), 64), (Chain((Pose(target=30), TABLE)), 64),
], ids=lambda x: title(x) if isinstance(x, Chain) else None)
def test_tokens_within_the_limit_stay_within_the_table(chain, limit):
  assert chain.with_dims(DIMS).limit == limit
  assert chain.farthest(limit - 1, False) < 64


def test_training_past_a_table_is_refused():
  chain = Chain((Coupling(starts=30), TABLE)).with_dims(DIMS)
  start(chain, capacity=33, train=True, rng=KEY)
  with pytest.raises(UserError, match='34 tokens: coupling needs 65 positions; learned'):
    start(chain, capacity=34, train=True, rng=KEY)


# Invalid use.


@pytest.mark.parametrize('parts, message', [
  ((Shift(offsets=64), TABLE), 'shift needs 65 positions; learned represents 64'),
  ((TABLE, Shift(offsets=64)), 'shift needs 65 positions; learned represents 64'),
  ((Coupling(starts=63), TABLE), 'coupling needs 65 positions; learned represents 64'),
  ((Randomize(places=65), TABLE), 'randomize needs 65 positions; learned represents 64'),
  ((Pose(target=65), TABLE), 'pose needs 65 positions; learned represents 64'),
  ((Cape(), TABLE),
   'cape moves tokens to fractions of positions; learned represents whole positions only'),
  ((Interpolate(), Cape(), Rope()),
   'interpolate moves tokens to fractions of positions; cape represents whole positions only'),
])
def test_a_table_shorter_than_the_moved_positions_is_refused(parts, message):
  with pytest.raises(ValueError, match=f'^{message}$'):
    Chain(parts).with_dims(DIMS)


@pytest.mark.parametrize('name', ['shift', 'cape', 'pose', 'abacus', 'coupling'])
def test_training_needs_a_key(name):
  encoding = find(name)()
  with pytest.raises(ValueError, match=f'^{name} draws positions in training: pass a key, rng='):
    start(encoding, train=True)
  start(encoding)


@pytest.mark.parametrize('name', COUNTING)
def test_counts_need_tokens(name):
  (_, encoding, counts), there = COUNTING[name], text(b'....').replace(ids=())
  said = r'^positions depend on token ids here: pass them, Positions\('
  with pytest.raises(ValueError, match=said):
    counts(encoding)(there, start(encoding))


@pytest.mark.parametrize('wrong, message', [
  (Shift(offsets=0), 'offsets, the number of shifts, must be positive; it is 0'),
  (Cape(global_shift=-1.0), 'global_shift and local_shift must not be negative; they are -1'),
  (Cape(local_shift=-1.0), 'global_shift and local_shift must not be negative; they are 5'),
  (Cape(max_scale=0.9), 'max_scale must be at least 1; it is 0.9'),
  (Interpolate(factor=0.0), 'factor must be positive; it is 0.0'),
  (Pose(target=0), 'target, the positions to train, must be positive; it is 0'),
  (Abacus(digits=()), r'digits must be token ids, at least one; they are \(\)'),
  (Abacus(digits=(1, -2)), r'digits must be token ids, at least one; they are \(1, '),
  (Abacus(length=5, max_offset=4), r'max_offset must lie .* length - 2 = 3, .*; it is 4'),
  (Coupling(operators=('+',)), r"operators must be token ids, at least one; they are \('"),
  (Coupling(starts=0), 'starts, the number of starts, must be positive; it is 0'),
  (Bipe(separators=()), 'separators must be token ids'),
  (Bipe(length=0), 'length and step must be positive; they are 0 and 1'),
])
def test_arguments_are_checked(wrong, message):
  with pytest.raises(ValueError, match=f'^{message}'):
    wrong.with_dims(DIMS)
