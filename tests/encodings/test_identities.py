"""Exact identities between encodings, and the rules of a carry, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import attend
from posjax.encodings import Bound, Positions
from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.nope import Nope
from posjax.encodings.parts.rotation import frequencies, rotate
from posjax.encodings.randomize import Randomize
from posjax.encodings.sinusoidal import sinusoid
from tests.oracles import alibi as alibi_oracle
from tests.support.problem import CAUSAL, DIMS, REFERENCE, ROWS, close, draw, heads, segments

pytestmark = pytest.mark.usefixtures('float64')


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def fractions(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).uniform(-50, 50, size=shape))


# RoPE.


@pytest.mark.parametrize('width', [4, 8])
def test_rope_interleaved_is_half_split_of_permuted_channels(width):
  x_BTNH, pos_BT, theta = normal(0, 2, 5, 3, 8), fractions(1, 2, 5), frequencies(width)
  # Channel i of the half-split layout is channel order[i] of the interleaved one.
  order = np.r_[0:width:2, 1:width:2, width:8]
  want = rotate(x_BTNH, pos_BT, theta, 'interleaved')[..., order]
  close(rotate(x_BTNH[..., order], pos_BT, theta, 'half'), want, 1e-15, 1e-15)


@pytest.mark.parametrize('layout', ['half', 'interleaved'])
def test_rope_scores_depend_on_the_distance_alone(layout):
  """R_m q . R_n k = Re sum_i q_i conj(k_i) e^((m - n) theta_i), channels pairwise as complex."""
  q, k, m, n = normal(2, 4, 6, 3, 8), normal(3, 4, 6, 3, 8), fractions(4, 4, 6), fractions(5, 4, 6)
  theta = frequencies(8)
  pairs = {'half': (slice(0, 4), slice(4, 8)), 'interleaved': (slice(0, 8, 2), slice(1, 8, 2))}
  plane = lambda x: x[..., pairs[layout][0]] + 1j * x[..., pairs[layout][1]]
  angle = (m - n)[:, :, None, None] * theta
  want = jnp.sum((plane(q) * plane(k).conj() * jnp.exp(1j * angle)).real, axis=-1)
  for shift in (0, 1000.25):
    got = rotate(q, m + shift, theta, layout) * rotate(k, n + shift, theta, layout)
    close(got.sum(axis=-1), want, 1e-12, 1e-12)


@pytest.mark.parametrize('layout', ['half', 'interleaved'])
def test_rope_rotations_compose_and_keep_the_other_channels(layout):
  x, m, n, theta = normal(6, 2, 5, 3, 8), fractions(7, 2, 5), fractions(8, 2, 5), frequencies(4)
  once = rotate(x, m + n, theta, layout)
  close(rotate(rotate(x, m, theta, layout), n, theta, layout), once, 1e-13, 1e-13)
  close(jnp.sum(once[..., :4] ** 2, -1), jnp.sum(x[..., :4] ** 2, -1), 1e-13, 1e-13)
  assert (once[..., 4:] == x[..., 4:]).all()
  assert (rotate(x, 0 * m, theta, layout) == x).all()


# Sinusoidal positions.


@pytest.mark.parametrize('layout', ['interleaved', 'half', 'tensor2tensor'])
def test_a_shift_rotates_sinusoids_independently_of_position(layout):
  """sin((p+k)w) = cos(kw) sin(pw) + sin(kw) cos(pw), likewise for cos: linear in the row at p."""
  width, base, k = 12, 100.0, 3.75
  pos_BT = fractions(9, 2, 5)
  steps = 5 if layout == 'tensor2tensor' else 6
  angle = k * base ** (-np.arange(6) / steps)
  cos, sin = np.diag(np.cos(angle)), np.diag(np.sin(angle))
  turn = np.block([[cos, sin], [-sin, cos]])  # of all sines, then all cosines
  if layout == 'interleaved':
    order = np.arange(12).reshape(2, 6).T.ravel()
    turn = turn[order][:, order]
  row = lambda pos: sinusoid(pos, width, base, layout, jnp.float64)
  close(row(pos_BT + k), row(pos_BT) @ turn.T, 1e-13, 1e-13)


def test_sinusoid_interleaved_is_half_with_permuted_channels():
  pos_BT = fractions(10, 2, 5)
  half, interleaved = (
    sinusoid(pos_BT, 12, layout=layout, dtype=jnp.float64) for layout in ('half', 'interleaved')
  )
  assert (interleaved[..., np.r_[0:12:2, 1:12:2]] == half).all()


# ALiBi and NoPE.


class RowConstant(Alibi):
  """Bloom's form: + m j, which is - m (i - j) up to a constant per row i."""

  def score(self, s_BNTS, pair, carry):
    slope = jnp.asarray(slopes(self.dims.N, self.bias_max))[:, None, None]
    return s_BNTS + slope * pair.k.pos[:, None, None, :, 0], carry


class Counting(Alibi):
  """ALiBi by a carry, which counts keys backwards from the query and ignores positions.

  - m (number of visible keys after j, query i itself included): a constant forget gate.
  """

  def init_carry(self, q):
    B, T, N, _ = q.h.shape
    return jnp.zeros((B, N, T))

  def score(self, s_BNTS, pair, carry):
    slope = jnp.asarray(slopes(self.dims.N, self.bias_max))[:, None, None]
    seen = pair.mask.astype(s_BNTS.dtype)
    suffix_sum = jax.lax.cumsum(seen, axis=3, reverse=True) - seen
    return s_BNTS - slope * (carry[..., None] + suffix_sum), carry + seen.sum(axis=-1)


def solve(encoding, inputs, at_q, at_k, **how):
  """Returns output and gradients of attention, for an encoding that only has the hook `score`."""
  bound = Bound(encoding.with_dims(DIMS))

  def loss(inputs):
    q = at_q.attach(heads(inputs['q'], DIMS.N) * DIMS.scale)
    k = at_k.attach(heads(inputs['k'], DIMS.K), inputs['v'])
    o = attend(q, k, bound, **how)
    return jnp.sum(jnp.sin(o)), o

  gradient, o = jax.grad(loss, has_aux=True)(inputs)
  return o, gradient


def count_places(segment_ids):
  """Returns positions 0, 1, … of each document, and order along the row."""
  order = np.arange(segment_ids.shape[1])[None].repeat(len(segment_ids), 0)
  starts = np.diff(segment_ids, prepend=-2) != 0
  pos = order - np.maximum.accumulate(np.where(starts, order, 0), axis=1)
  return Positions(jnp.asarray(pos[..., None]), jnp.asarray(order), jnp.asarray(segment_ids))


def test_alibi_slopes_equal_the_oracle_for_every_number_of_heads():
  for number in range(1, 33):
    for bias_max in (8.0, 5.5):
      close(slopes(number, bias_max), np.array(alibi_oracle.slopes(number, bias_max)), 1e-14, 0)


def test_alibi_causal_is_linear_in_the_position_of_the_key():
  inputs, at = draw(Alibi()), count_places(segments(*ROWS))

  @jax.jit
  def both(inputs, at):
    fives = dict(implementation='blockwise', block=5)
    ways = [(Alibi(), REFERENCE), (RowConstant(), REFERENCE), (RowConstant(), fives)]
    return [solve(encoding, inputs, at, at, **CAUSAL, **way) for encoding, way in ways]

  want, *others = both(inputs, at)
  for got in others:
    close(got, want, 1e-12, 1e-12)


def test_nope_without_a_causal_mask_ignores_order():
  inputs, at = draw(Nope()), count_places(segments(*ROWS))
  order = np.random.default_rng(11).permutation(12)
  shuffled = dict(inputs, k=inputs['k'][:, order], v=inputs['v'][:, order])
  # Positions stay fixed, but segment ids are permuted together with their keys.
  at_k = at.replace(segment_ids=at.segment_ids[:, order])

  @jax.jit
  def bag(inputs, at_q, at_k):
    return solve(Nope(), inputs, at_q, at_k, causal=False, **REFERENCE)[0]

  close(bag(shuffled, at, at_k), bag(inputs, at, at), 1e-12, 1e-12)


# The carry.

BLOCKS = (1, 3, 5, 100)


@pytest.mark.slow
@pytest.mark.parametrize('window', [0, 4])
def test_a_carry_that_counts_visible_keys_is_alibi(window):
  """Key blocks come nearest first; masked pairs and skipped blocks do not change the carry."""
  inputs, at = draw(Alibi()), count_places(segments(*ROWS))
  mask = dict(causal=True, window=window)

  @jax.jit
  def every(inputs, at):
    ways = [dict(implementation='blockwise', block=block) for block in BLOCKS]
    counted = [solve(Counting(), inputs, at, at, **mask, **way) for way in (REFERENCE, *ways)]
    return solve(Alibi(), inputs, at, at, **mask, **REFERENCE), counted

  want, counted = every(inputs, at)
  for got in counted:
    close(got, want, 1e-12, 1e-12)


@pytest.mark.slow
def test_a_carry_counts_only_used_slots_of_a_cache():
  """Five new queries and a cache of 17 slots, five of them empty, with documents and padding."""
  at = count_places(segments(*(row + '.....' for row in ROWS)))
  inputs = draw(Alibi(), queries=5, keys=17)
  # An empty slot holds zeros.
  empty = at.segment_ids[:1] < 0
  at = at.replace(order=jnp.where(empty, 0, at.order), pos=jnp.where(empty[..., None], 0, at.pos))
  at_q = jax.tree.map(lambda x: x[:, 7:12], at)

  @jax.jit
  def every(inputs, at_q, at):
    ways = [dict(implementation='blockwise', block=block) for block in (2, 5, 7)]
    counted = [solve(Counting(), inputs, at_q, at, **CAUSAL, **way) for way in (REFERENCE, *ways)]
    return solve(Alibi(), inputs, at_q, at, **CAUSAL, **REFERENCE), counted

  want, counted = every(inputs, at_q, at)
  for got in counted:
    close(got, want, 1e-12, 1e-12)


# Randomized positions.


def drawn(encoding, capacity, number):
  """Returns the draws of `number` keys, [number, C]."""

  @jax.jit
  def draw(keys):
    return jax.vmap(lambda key: encoding.init_state(1, capacity, True, key).sequence[0])(keys)

  return np.asarray(draw(jax.random.split(jax.random.key(0), number)))


def test_randomize_draws_every_set_equally_often():
  """Chi-square over the 20 subsets of three of six; its 99.9 % quantile is 43.8."""
  places = drawn(Randomize(places=6), 3, 100_000)
  assert (np.diff(places) > 0).all() and places.min() == 0 and places.max() == 5
  sets, counts = np.unique(places, axis=0, return_counts=True)
  assert len(sets) == 20 and np.sum((counts - 5000) ** 2 / 5000) < 43.8


def test_randomize_draws_every_position_of_a_long_range_equally_often():
  places = drawn(Randomize(places=500), 40, 2000)
  assert (np.diff(places) > 0).all() and places.min() == 0 and places.max() == 499
  # Each position is drawn with probability 40/500: 160 of 2000 times, with a deviation of 12.1.
  counts = np.bincount(places.ravel(), minlength=500)
  assert len(counts) == 500 and np.abs(counts - 160).max() < 5 * 12.1
  assert abs(np.mean((counts - 160) ** 2) / 12.1**2 - 1) < 5 * (2 / 500) ** 0.5


def test_randomize_state():
  key = jax.random.key(1)
  sequence = lambda *args, **fields: Randomize(places=30, **fields).init_state(*args).sequence
  first = sequence(1, 20, True, key)
  assert first.shape == (1, 20)
  # A batch shares a draw. Training and evaluation draw alike.
  for again in (
    sequence(4, 20, True, key), sequence(1, 20, False, key),
    sequence(1, 20, True, key, at_evaluation=False),
  ):
    assert (again == first).all()
  # If the capacity exceeds the range, all positions are used. Evaluation may draw nothing.
  assert (sequence(1, 31, False, key) == np.arange(30)).all()
  assert sequence(1, 20, False, None, at_evaluation=False) == ()
  for train in (True, False):
    with pytest.raises(ValueError, match=r'^randomize draws positions: give the model a key, rng='):
      sequence(1, 20, train, None)


def test_randomize_keeps_positions_outside_of_training():
  encoding, at = Randomize(places=30, at_evaluation=False), count_places(segments(*ROWS))
  for train in (False, True):
    sequence = encoding.init_state(4, 12, train, jax.random.key(1)).sequence
    pos, _ = Bound(encoding).positions(at, sequence)
    assert (pos == (sequence[0][at.pos] if train else at.pos)).all()
