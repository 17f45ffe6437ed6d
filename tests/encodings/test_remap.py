"""Remapped distances: the papers' tables, special cases, and the cost of a block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import blockwise, reference
from posjax.dims import Dims
from posjax.encodings import Bound, Chain, Pair, Positions
from posjax.encodings.dual_chunk import DualChunk
from posjax.encodings.nope import Nope
from posjax.encodings.parts import remap as remap_lib
from posjax.encodings.rerope import Rerope
from posjax.encodings.rope import Rope
from posjax.encodings.self_extend import SelfExtend
from posjax.encodings.string_shift import StringShift
from posjax.encodings.temperature import Temperature
from tests.support.problem import (
  CAUSAL,
  DIMS,
  REFERENCE,
  ROWS,
  attention,
  close,
  draw,
  ends,
  place,
  segments,
)

pytestmark = pytest.mark.usefixtures('float64')

FOUR = (
  Rerope(window=3), SelfExtend(window=3, group=3), StringShift(shift=4, window=2),
  DualChunk(chunk=5, window=2),
)


# Distances.


def relative(encoding, n, m_S):
  """Returns the distances of a query at `n` to keys at `m_S`, computed from the scores.

  Plane 1 of a head of four channels rotates by 0.01 per position. The keys of the two rows are its
  two axes, so that the scores are cosine and sine.
  """
  bound = Bound(encoding.with_dims(Dims(N=1, K=1, H=4)))

  def tokens(pos, h_2H):
    order = jnp.zeros((1, len(pos)), jnp.int32)
    h = jnp.broadcast_to(h_2H[:, None, None], (2, len(pos), 1, 4))
    return Positions(jnp.asarray(pos)[None, :, None], order, order).attach(h)

  @jax.jit
  def run():
    q = bound.query(tokens([n], jnp.eye(4)[np.array([1, 1])]))
    k = bound.key_block(bound.key(tokens(m_S, jnp.eye(4)[np.array([1, 3])])))
    mask = jnp.ones((1, 1, 1, len(m_S)), bool)
    s_BNTS, _ = bound.score(jnp.zeros((2, 1, 1, len(m_S))), Pair(q, k, mask), ())
    cos_S, sin_S = s_BNTS[:, 0, 0]
    return jnp.arctan2(sin_S, cos_S) / 0.01

  return run()


@pytest.mark.parametrize('remap, n, want', [
  (Rerope(window=5), 9, [0, 1, 2, 3, 4, 5, 5, 5, 5, 5]),
  (Rerope(window=4, slope=0.25), 9, [0, 1, 2, 3, 4, 4.25, 4.5, 4.75, 5, 5.25]),
  (SelfExtend(window=4, group=2), 13, [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]),
  # For the next query the group edges differ.
  (SelfExtend(window=4, group=2), 14, [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]),
  # A distance equal to the window is beyond it.
  (SelfExtend(window=2, group=4), 5, [0, 1, 3, 3, 3, 3]),
  # floor(w / G), as in the paper.
  (SelfExtend(window=5, group=3), 8, [0, 1, 2, 3, 4, 5, 6, 6, 6]),
  (StringShift(shift=6, window=2), 9, [0, 1, 2, 3, 4, 5, 2, 3, 4, 5]),
  (DualChunk(chunk=8, window=2), 19,
   [0, 1, 2, 3, 4, 5, 6, 7, 3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8]),
  (DualChunk(chunk=8, window=2), 22,
   [0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8]),
  # Chunks of 3, and 2 * 3 - 1 is less than the chunk.
  (DualChunk(chunk=8, window=5), 10, [0, 1, 2, 3, 4, 3, 4, 5, 3, 4, 5]),
], ids=lambda x: type(x).__name__ if hasattr(x, 'base') else None)
def test_distances_are_those_of_the_papers(remap, n, want):
  """Distances to keys from the query's position down to 0."""
  close(relative(remap, n, np.arange(n, -1, -1)), np.array(want, float), 1e-11, 1e-11)


def test_distances_of_fractions():
  m_S = np.array([7.5, 5.5, 5.0, 4.75, 0.25])
  for encoding, want in (
    (Rerope(window=2, slope=0.5), [0, 2, 2.25, 2.375, 4.625]),
    (SelfExtend(window=2, group=2), [0, 3 + 1 - 2, 3 + 1 - 2, 3 + 1 - 2, 3 + 1 - 0]),
    (StringShift(shift=2, window=1), [0, 1, 1.5, 1.75, 6.25]),
    # Chunks of 3: the query is at 1.5 of the third.
    (DualChunk(chunk=4, window=1), [0, 4 - 2.5, 4 - 2, 4 - 1.75, 4 - 0.25]),
  ):
    close(relative(encoding, 7.5, m_S), np.array(want, float), 1e-11, 1e-11)


# Identities.


def solve(encodings, moves=None):
  """Returns the outputs of each encoding, at integer positions with gaps, changed by `moves`."""
  at = place(Nope(), segments(*ROWS))
  at = at.replace(pos=jnp.floor(at.pos))

  @jax.jit
  def run(inputs, ats):
    one = lambda encoding, at: attention(encoding, inputs, at, at, **CAUSAL, **REFERENCE)
    return [one(*each) for each in zip(encodings, ats, strict=True)]

  moves = moves or [lambda pos: pos] * len(encodings)
  return run(draw(Nope()), [at.replace(pos=move(at.pos)) for move in moves])


def test_remaps_equal_rope_if_no_distance_changes():
  """All distances are within the window or one chunk, or are mapped to themselves."""
  want, *got = solve([
    Rope(), Rerope(window=100), Rerope(window=3, slope=1.0), SelfExtend(window=100),
    SelfExtend(window=3, group=1), StringShift(shift=100, window=5), StringShift(shift=3, window=3),
    DualChunk(chunk=200, window=100),
  ])
  close(got, [want] * 7, 1e-12, 1e-12)


def test_layouts_and_fractions_equal_those_of_rope():
  rotary = dict(base=50.0, fraction=0.5, layout='interleaved')
  want, *got = solve([
    Rope(**rotary), Rerope(window=100, **rotary), StringShift(shift=3, window=3, **rotary),
  ])
  close(got, [want] * 2, 1e-12, 1e-12)


def test_remaps_without_a_window_equal_rope_at_other_positions():
  """ReRoPE equals NoPE, or interpolation if it has a slope; Self-Extend equals RoPE of groups."""
  same = lambda pos: pos
  found = solve(
    [Nope(), Rerope(window=0), Rope(), Rerope(window=0, slope=0.25), Rope(),
     SelfExtend(window=0, group=3)],
    [same, same, lambda pos: pos / 4, same, lambda pos: pos // 3, same],
  )
  close(found[1::2], found[0::2], 1e-12, 1e-12)


def test_temperature_commutes_with_remaps():
  one = Temperature(kind='ministral', length=3, beta=0.7)
  for encoding in (Rerope(window=3), DualChunk(chunk=5, window=2)):
    want, got = solve([Chain((one, encoding)), Chain((encoding, one))])
    close(got, want, 1e-12, 1e-12)


def test_rerope_ignores_distances_beyond_its_window():
  inputs = draw(Nope(), batch=1, queries=3, keys=7)
  row = lambda *pos: Positions(
    jnp.asarray(pos)[None, :, None], jnp.arange(len(pos))[None], jnp.zeros((1, len(pos)), jnp.int32)
  )
  at_q = row(30, 31, 32)
  at_q = at_q.replace(order=at_q.order + 10)
  run = jax.jit(
    lambda at_k: attention(Rerope(window=8), inputs, at_q, at_k, **CAUSAL, **REFERENCE)
  )
  # The first four keys are at least 8 positions from every query; the others are closer.
  near = 24.5, 27, 30
  want, got, other = (
    run(row(*far, *near)) for far in ((1, 2, 3, 4.5), (22, 9, 0, 21.75), (1, 2, 3, 29))
  )
  close(got, want, 1e-13, 1e-13)
  assert np.abs(other - want).max() > 1e-3


def test_rows_may_differ_in_the_kinds_of_distances():
  """All distances in the first row are within the window."""
  inputs = draw(Nope(), batch=2)
  pos_BT = jnp.arange(12)[None] * jnp.array([[1], [2]])
  at = Positions(pos_BT[..., None], pos_BT, jnp.zeros_like(pos_BT))
  run = jax.jit(
    lambda inputs, at: attention(Rerope(window=16), inputs, at, at, **CAUSAL, **REFERENCE)
  )
  rows = [run(*jax.tree.map(lambda x, b=b: x[b : b + 1], (inputs, at))) for b in range(2)]
  close(run(inputs, at), jnp.concatenate(rows), 1e-13, 1e-13)


# Blocks, and the cache.


def consecutive(length):
  order = jnp.arange(length, dtype=jnp.int32)[None]
  return Positions(order[..., None], order, jnp.zeros_like(order), consecutive=True)


@pytest.mark.parametrize('remap', [
  Rerope(window=11, slope=0.5), DualChunk(chunk=21, window=5)
], ids=['rerope', 'dual_chunk'])
def test_blocks_of_one_or_several_kinds_equal_the_reference(remap):
  inputs, at = draw(remap, batch=2, queries=64, keys=64), consecutive(64)

  @jax.jit
  def both(inputs):
    def pulled(way, **how):
      run = lambda inputs: way(*ends(remap, inputs, at, at), **CAUSAL, **how)
      o, pull = jax.vjp(run, inputs)
      return o, pull(jnp.cos(o))

    return pulled(blockwise, block=8), pulled(reference)

  close(*both(inputs))


@pytest.mark.parametrize('remap, products', [
  # Six pairs of blocks of four: three of distances 0 to 3, two of 1 to 7, one of 5 to 11.
  (Rerope(window=100), 3 + 2 + 1),
  (Rerope(window=4), 3 + 2 * 2 + 1),
  (SelfExtend(window=8), 3 + 2 + 2),
  (StringShift(shift=5, window=2), 3 + 2 * 2 + 1),
  (DualChunk(chunk=6, window=2), 3 + 2 + 1),
  (DualChunk(chunk=4, window=2), 3 * 2 + 2 * 2 + 1),
], ids=lambda x: type(x).__name__ if hasattr(x, 'base') else None)
def test_a_block_computes_one_product_per_kind_of_distance(remap, products, monkeypatch):
  made = []

  def counted(q_BTNH, k_BSKH):
    jax.debug.callback(lambda: made.append(k_BSKH.shape))
    return scores(q_BTNH, k_BSKH)

  scores = remap_lib.qk_logits
  monkeypatch.setattr(remap_lib, 'qk_logits', counted)
  given = ends(remap, draw(remap, batch=1), consecutive(12), consecutive(12))
  jax.block_until_ready(jax.jit(lambda: blockwise(*given, **CAUSAL, block=4))())
  jax.effects_barrier()
  assert made == products * [(1, 4, DIMS.K, DIMS.H)]


@pytest.mark.parametrize('remap', FOUR, ids=lambda e: type(e).__name__)
def test_a_cached_key_is_one_array(remap):
  """Either the key itself, or the key rotated by RoPE at one position."""
  inputs, at = draw(remap, batch=1), consecutive(12)
  _, k, bound = ends(remap, inputs, at, at)
  assert not jax.tree.leaves((k.features, k.position_features))
  if isinstance(remap, Rerope | SelfExtend):
    want = ends(Nope(), inputs, at, at)[1]
  else:
    pos = at.pos % 3 if isinstance(remap, DualChunk) else at.pos
    want = ends(Rope(), inputs, at, at.replace(pos=pos))[1]
  close(k.h, want.h, 1e-15, 1e-15)


# Arguments.


@pytest.mark.parametrize('wrong, message', [
  (Rerope(window=-1), 'window must not be negative; it is -1'),
  (Rerope(slope=-0.5), 'slope must not be negative; it is -0.5'),
  (Rerope(layout='whole'), "layout is 'whole'; valid: half, interleaved"),
  (SelfExtend(window=-1), 'window must not be negative; it is -1'),
  (SelfExtend(group=0), 'group, the tokens that share a position, must be positive; it is 0'),
  (StringShift(shift=3, window=4), 'window must lie between 0 and shift, 3; it is 4'),
  (StringShift(fraction=0.4),
   'fraction 0.4 of head size 8 is 3.2 channels; it must be an even number of them, from 2 to the '
   'head size'),
  (DualChunk(chunk=3, window=3), 'window must be less than chunk, 3, and not negative; it is 3'),
])
def test_wrong_arguments(wrong, message):
  with pytest.raises(ValueError) as error:
    wrong.with_dims(DIMS)
  assert str(error.value) == message
