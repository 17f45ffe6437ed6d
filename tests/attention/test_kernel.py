"""The blockwise kernel: its custom gradient, its use of declared structure, and its memory.

The contract of every encoding (test_encodings.py) compares it with `reference` at arbitrary
positions. Here it is compared with autodiff of a plain scan, and at consecutive positions.
"""

import collections
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import attend, blockwise, reference
from posjax.attention.blockwise import trees
from posjax.attention.blockwise.blocks import split
from posjax.attention.blockwise.tile import distance_tables
from posjax.attention.products import swap_axes
from posjax.encodings import Bound, Chain, Encoding, Positions
from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.core.chain import overrides
from posjax.encodings.fire import network
from posjax.encodings.fox import Fox
from posjax.encodings.kerple import Kerple
from posjax.encodings.parts.distance import DistanceBias
from posjax.encodings.path import Path
from posjax.encodings.shaw import Shaw
from posjax.encodings.stick_breaking import StickBreaking
from posjax.encodings.t5 import T5
from tests.conftest import shelf, title
from tests.support import autodiff
from tests.support.problem import (
  CAUSAL,
  DIMS,
  MASKS,
  ROWS,
  close,
  dims_of,
  draw,
  ends,
  first_state,
  heads,
  masks,
  on_axes,
  place,
  segments,
)

pytestmark = pytest.mark.usefixtures('float64')

def solve(way, given, **how):
  """Returns the output and gradients of all inputs, fractional positions and features included."""
  o, pull = trees.vjp(lambda q, k, bound: way(q, k, bound, **how), *given)
  return o, pull(jnp.cos(o))


def compare(encoding, mask):
  @jax.jit
  def both(inputs, at):
    given = ends(encoding, inputs, at, at)
    return [solve(way, given, **mask, block=5) for way in (blockwise, autodiff.blockwise)]

  close(*both(draw(encoding), place(encoding, segments(*ROWS))))


@pytest.mark.slow
@pytest.mark.parametrize('mask', MASKS)
@pytest.mark.parametrize('encoding', [e for e, core, _ in shelf() if core], ids=title)
def test_the_kernel_equals_autodiff_of_a_scan(encoding, mask):
  if mask in masks(encoding):
    compare(encoding, MASKS[mask][0])


class Reads(Encoding):
  """Adds to each output its query times the weighted sum of the keys' positions."""

  def output(self, o_BTNH, p_BNTS, pair):
    pos_BTN = jnp.einsum('BNTS,BS->BTN', p_BNTS, pair.k.pos[..., 0])
    return o_BTNH + pos_BTN[..., None] * pair.q.h


def test_all_hooks_equal_autodiff_of_a_scan():
  """Carries, also read at the end; a bias; weights without normalization; a changed output."""
  compare(Chain((Path(rank=5), Kerple(), StickBreaking(), Reads())), CAUSAL)


# Declared structure.


def consecutive(first, length):
  """Returns consecutive positions that all rows share."""
  order = jnp.arange(first, first + length, dtype=jnp.int32)[None]
  return Positions(
    order[..., None], order, jnp.zeros_like(order), consecutive=True, ids=order % DIMS.V
  )


def packed(at):
  """Returns segments of two rows: one document; two documents and padding after them."""
  second = jnp.where(at.order < 90, at.order // 50, -1)
  return at.replace(segment_ids=jnp.concatenate([at.segment_ids, second]))


# 27 queries among 94 keys, neither a multiple of the block size 8. Some keys are adjacent, others
# more than 40 positions away on either side, where `linear_beyond` matters. Earlier blocks are at
# least 3, 11, … away from a query: with Shaw's clip of 4, 3 is almost beyond the clip.
QUERIES, KEYS = packed(consecutive(40, 27)), packed(consecutive(6, 94))
SIDES = {'both sides': dict(causal=False, window=0)} | {n: mask for n, (mask, _) in MASKS.items()}


def structured(encoding, mask, queries=27, keys=94):
  """Compares `blockwise` at positions declared consecutive with `reference`."""
  at_q, at_k = (
    jax.tree.map(lambda x, n=n: x[:, :n], at) for at, n in ((QUERIES, queries), (KEYS, keys))
  )

  @jax.jit
  def both(inputs):
    def pulled(way, **how):
      run = lambda inputs: way(*ends(encoding, inputs, at_q, at_k), **mask, **how)
      o, pull = jax.vjp(run, inputs)
      return o, pull(jnp.cos(o))

    return pulled(blockwise, block=8), pulled(reference)

  close(*both(draw(encoding, batch=2, queries=queries, keys=keys)))


def declares(encoding):
  bound = Bound(encoding.with_dims(dims_of(encoding)), draw(encoding)['weights'])
  return jax.eval_shape(bound.distance_table, jnp.arange(3.0)) is not None


@pytest.mark.slow
def test_consecutive_positions_give_the_same_numbers(encoding):
  """An encoding without declared structure ignores the declaration: the program is the same."""
  if declares(encoding):
    structured(encoding, SIDES['causal window' if encoding.causal_only else 'both sides'])
    return
  if dims_of(encoding).P > 1:
    pytest.skip('positions on a grid are never declared consecutive')
  inputs = draw(encoding, batch=2, queries=27, keys=94)
  at_q, at_k = (at.replace(consecutive=False) for at in (QUERIES, KEYS))

  @jax.jit
  def program(inputs, at_q, at_k):
    return solve(blockwise, ends(encoding, inputs, at_q, at_k), **CAUSAL, block=8)

  declared, not_declared = program.lower(inputs, QUERIES, KEYS), program.lower(inputs, at_q, at_k)
  assert declared.as_text() == not_declared.as_text()


DECLARED = [
  pytest.param(encoding, SIDES[side], id=f'{title(encoding)}-{side}')
  for encoding, core, _ in shelf() if core and overrides(encoding, 'distance_table')
  for side in SIDES if SIDES[side]['causal'] or not encoding.causal_only
]


@pytest.mark.slow
@pytest.mark.parametrize('module, mask', DECLARED)
def test_declared_structure_gives_the_same_numbers_under_each_mask(module, mask):
  structured(module, mask)


def test_declared_structure_of_a_chain_works_without_a_causal_mask():
  buckets = T5(buckets=12, max_distance=20, bidirectional=True)
  structured(Chain((buckets, Alibi())), SIDES['both sides'])


def test_declared_structure_works_if_blocks_divide_the_lengths():
  structured(Kerple(), SIDES['both sides'], queries=16, keys=88)


@pytest.mark.parametrize('declared', [(True, True), (True, False), (False, True), (False, False)])
def test_distance_tables_need_consecutive_queries_and_keys(declared):
  q, k = (
    at.replace(consecutive=one).attach(jnp.zeros((2, at.order.shape[1], DIMS.N, DIMS.H)))
    for at, one in zip((QUERIES, KEYS), declared, strict=True)
  )
  q, k = (swap_axes(split(end, 8)) for end in (q, k))
  made = distance_tables(q, k, Bound(Alibi().with_dims(DIMS)))
  if all(declared):  # 4 blocks of queries from 40 on, 12 of keys from 6 on
    distance = 40 + 31 - 6 - np.arange(32 + 96)
    close(made, -slopes(DIMS.N)[:, None] * jnp.abs(distance))
  else:
    assert made is None


def test_a_bias_that_reads_the_queries_of_one_row():
  """The only row computes the bias; its gradient reaches the queries too."""
  encoding, at = Shaw(clip=3, with_values=False), consecutive(5, 12)

  @jax.jit
  def both(inputs):
    given = ends(encoding, inputs, at, at)
    return solve(blockwise, given, **CAUSAL, block=5), solve(reference, given, **CAUSAL)

  close(*both(draw(encoding, batch=1)))


# How often biases and features are computed, and what is stored.


class Counted(DistanceBias):
  """Records in `made` all distances whose biases it computes."""

  made = []

  def bias(self, distance):
    note = lambda first: self.made.append((distance.shape, int(first)))
    jax.debug.callback(note, distance.reshape(-1)[0])
    return -jnp.abs(distance)[..., None]

  def bias_from_table(self, q, r_NR):
    jax.debug.callback(lambda: self.made.append('block'))
    return super().bias_from_table(q, r_NR)


@pytest.mark.parametrize('declared', [False, True], ids=['by pairs', 'by distances'])
def test_rows_share_one_bias_computation(declared):
  """Two rows of 12 tokens have six pairs of blocks of four; the backward pass repeats them."""
  at = consecutive(5, 12).replace(consecutive=declared)
  given = ends(Counted(), draw(Counted(), batch=2), at, at)
  firsts = [4 * (i - j) for i in range(3) for j in range(i + 1)]
  for run, times in (
    (lambda: blockwise(*given, **CAUSAL, block=4), 1),
    (lambda: solve(blockwise, given, **CAUSAL, block=4), 2),
  ):
    Counted.made.clear()
    jax.block_until_ready(jax.jit(run)())
    jax.effects_barrier()
    if declared:  # from the largest distance on, with room for one more
      assert collections.Counter(Counted.made) == {((24,), 11): 1, 'block': 6 * times}
    else:
      assert sorted(Counted.made) == sorted(times * [((1, 4, 4), first) for first in firsts])


def test_given_and_computed_position_features_agree_bitwise(encoding):
  """And the hooks return tokens without features, which a cache would store."""
  at = place(encoding, segments(*ROWS))
  inputs = draw(encoding)
  bound = Bound(encoding.with_dims(dims_of(encoding)), inputs['weights'])
  state = first_state(encoding, 4)
  at = at.replace(pos=bound.positions(at, state.sequence)[0])
  features, _ = bound.features(inputs['q'], at, state.layer)
  for hook, number in ((bound.query, DIMS.N), (bound.key, DIMS.K)):
    tokens = at.attach(heads(inputs['q'], number), inputs['v'], features)
    made = bound.position_features(at, jnp.float64)
    want, got = hook(tokens), hook(tokens.replace(position_features=made))
    assert not jax.tree.leaves(got.position_features)
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.slow
def test_gradients_are_bitwise_reproducible():
  """With hooks of all kinds, in training precision and at a training length."""
  encoding = Chain((Shaw(), Kerple(), Fox()))
  at = consecutive(0, 512)
  with jax.enable_x64(False):
    inputs = jax.tree.map(jnp.float32, draw(encoding, batch=2, queries=512, keys=512))

    def run(inputs):
      return solve(blockwise, ends(encoding, inputs, at, at), **CAUSAL, block=128)

    once, again = (jax.jit(run).lower(inputs).compile() for _ in range(2))
    want = once(inputs)
    for got in (once(inputs), again(inputs)):
      jax.tree.map(np.testing.assert_array_equal, got, want)


def planned_bytes(encoding, T, **way):
  """Returns XLA's planned bytes of temporaries for a forward and backward pass at length T."""

  def run(inputs, at):
    return solve(functools.partial(attend, **way), ends(encoding, inputs, at, at))

  with jax.enable_x64(False):
    inputs = jax.tree.map(jnp.float32, draw(encoding, batch=1, queries=T, keys=T))
    at = on_axes(encoding, consecutive(0, T))
    planned = jax.jit(run).lower(inputs, at).compile().memory_analysis()
  return planned.temp_size_in_bytes


def exponent(encoding, **way):
  short, long = (planned_bytes(encoding, T, **way) for T in (4096, 16_384))
  print(f'{title(encoding)}: {short / 2**20:.1f} and {long / 2**20:.1f} MiB')
  return math.log(long / short, 4)


@pytest.mark.slow
def test_memory_is_linear_in_the_length(encoding):
  assert exponent(encoding, implementation='blockwise') <= 1.1


def test_blockwise_memory_is_linear_and_reference_memory_is_quadratic():
  assert exponent(Alibi(), implementation='blockwise') <= 1.1
  assert exponent(Alibi(), implementation='reference') > 1.8


# FIRE's network, which evaluates units only where they cross 0.


def plain(x_P, w_R, b_R, out_RN):
  return jax.nn.relu(x_P[:, None] * w_R + b_R).dot(out_RN).T


RISING = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])


@pytest.mark.parametrize('b_R', [
  -0.5 * RISING,  # all units cross, in the middle
  [3.0, 2.0, 1.0, 0.0, 0.0, 0.0],  # none crosses: all are on, or at 0
  [-1.0, -1.0, -1.0, -3.0, -3.0, -3.0],  # none crosses: all are off
  [2.0, 1.0, 0.5, -0.5, -1.0, -2.0],  # each is 0 at the end, and on before that or never
  [1.0, 0.0, -1.0, 0.2, -0.3, -5.0], # some cross
])
def test_fire_network_equals_the_sum_over_its_units(b_R):
  rng = np.random.default_rng(0)
  x_P = np.concatenate([[0.0, 1.0], rng.uniform(size=9)])
  given = x_P, RISING, np.asarray(b_R), rng.normal(size=(6, 3))
  dy_NP = rng.normal(size=(3, 11))

  @jax.jit
  def both(given):
    ways = [jax.vjp(function, *given) for function in (network, plain)]
    return [(y, pull(dy_NP)) for y, pull in ways]

  close(*both(given))
