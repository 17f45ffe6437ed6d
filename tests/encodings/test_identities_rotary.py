"""Equivalent forms of RoPE and of encodings of positions, exact in float64.

Rotated queries and keys determine attention, so they are compared, or their products where only
these agree. Rows are packed; positions restart in each document and jump.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings import Bound, Chain
from posjax.encodings.cape import Cape
from posjax.encodings.core.arrays import qk_logits
from posjax.encodings.interpolate import Interpolate
from posjax.encodings.learned import Learned
from posjax.encodings.nope import Nope
from posjax.encodings.pose import Pose
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.encodings.shift import Shift
from posjax.encodings.sinusoidal import Sinusoidal, sinusoid
from posjax.encodings.temperature import Temperature
from tests.support.problem import (
  CAPACITY,
  DIMS,
  ROWS,
  close,
  draw,
  ends,
  first_state,
  place,
  segments,
)

pytestmark = pytest.mark.usefixtures('float64')


def scaled(kind, **scaling):
  return Rope(scaling=dict(rope_type=kind, **scaling))


PLANES = DIMS.H // 2
YARN = dict(factor=16.0, original_max_position_embeddings=4096)
LLAMA3 = dict(low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=256)
LONG = dict(original_max_position_embeddings=16, short_factor=(1.5,) * PLANES)
G = 0.1 * math.log(16) + 1

# Pairs of encodings with equal queries and keys.
SAME = {
  'linear by 1 is RoPE': (scaled('linear', factor=1.0), Rope()),
  'NTK by 1 is RoPE': (scaled('ntk', factor=1.0), Rope()),
  'dynamic within the trained length is RoPE':
    (scaled('dynamic', factor=3.0, original_max_position_embeddings=CAPACITY + 9), Rope()),
  'YaRN by 1 is RoPE': (scaled('yarn', **YARN | dict(factor=1.0)), Rope()),
  'YaRN of the paper by 1 is RoPE': (
    scaled('yarn', **YARN | dict(factor=1.0), ramp='paper', mscale=0.5, mscale_all_dim=1.0), Rope()
  ),
  'Llama 3 by 1 is RoPE': (scaled('llama3', factor=1.0, **LLAMA3), Rope()),
  'LongRoPE by 1 is RoPE':
    (
      scaled(
        'longrope', factor=1.0, long_factor=(1.0,) * PLANES,
        **LONG | dict(short_factor=(1.0,) * PLANES),
      ),
      Rope(),
    ),
  'p-RoPE of all planes is RoPE': (scaled('proportional', partial_rotary_factor=1.0), Rope()),
  'p-RoPE of no plane is NoPE': (scaled('proportional', partial_rotary_factor=0.0), Nope()),
  'RoPE with no plane clipped is RoPE': (scaled('clipped', clip_low_n=0), Rope()),
  'RoPE with all planes clipped is NoPE': (scaled('clipped', clip_low_n=9, hard=True), Nope()),
  'clipped hard is p-RoPE': (
    scaled('clipped', clip_low_n=1, hard=True), scaled('proportional', partial_rotary_factor=0.75)
  ),
  'interpolation by 1 is RoPE': (Chain((Interpolate(1.0), Rope())), Rope()),
  'interpolation is linear': (Chain((Interpolate(2.5), Rope())), scaled('linear', factor=2.5)),
  'interpolation of what is linear scales twice':
    (Chain((Interpolate(2.5), scaled('linear', factor=2.0))), scaled('linear', factor=5.0)),
  'NTK is another base':
    (scaled('ntk', factor=3.0), Rope(base=1e4 * 3 ** (DIMS.H / (DIMS.H - 2)))),
  'LongRoPE of one divisor is linear': (
    scaled(
      'longrope', factor=4.0, long_factor=(4.0,) * PLANES, attention_factor=1.0,
      **LONG | dict(short_factor=(4.0,) * PLANES),
    ),
    scaled('linear', factor=4.0),
  ),
}

# Pairs of encodings with equal products.
SAME_PRODUCTS = {
  # A factor on cosines and sines is the square root of a temperature if all channels rotate.
  'the factor of YaRN is a temperature': (
    scaled('yarn', **YARN),
    Chain((Temperature('uniform', factor=G**2), scaled('yarn', **YARN, attention_factor=1.0))),
  ),
  'the factor of YaRN is that of DeepSeek, who has it on the query':
    (scaled('yarn', **YARN), scaled('yarn', **YARN, mscale=1.0, mscale_all_dim=1.0)),
  'what shifts a whole sequence is nothing to RoPE': (Chain((Shift(), Rope())), Rope()),
  'nor is CAPE that does no more':
    (Chain((Cape(local_shift=0.0, max_scale=1.0), Rope())), Rope()),
}


@functools.cache
def met():
  """Returns {name: queries, keys and products of both encodings}, in one compilation."""
  at = place(Rope(), segments(*ROWS))

  @jax.jit
  def meet(inputs, at):
    def one(encoding):
      q, k, bound = ends(encoding, inputs, at, at)
      k = bound.key_block(k)
      return q.h, k.h, qk_logits(q.h, k.h)

    return {name: tuple(map(one, pair)) for name, pair in (SAME | SAME_PRODUCTS).items()}

  return meet(draw(Nope()), at)


@pytest.mark.parametrize('name', SAME)
def test_queries_and_keys_are_the_same(name):
  got, want = met()[name]
  close(got, want, 1e-13, 1e-13)


@pytest.mark.parametrize('name', SAME_PRODUCTS)
def test_products_are_the_same(name):
  (*_, got), (*_, want) = met()[name]
  close(got, want, 1e-12, 1e-12)


@pytest.mark.parametrize('args', [
  {}, dict(fraction=0.5), dict(scaling=dict(rope_type='yarn', **YARN)),
], ids=['whole', 'half', 'yarn'])
def test_layouts_agree_on_permuted_streams(args):
  """As after projections with permuted output channels."""
  inputs, at = draw(Nope()), place(Rope(), segments(*ROWS))
  width = round(args.get('fraction', 1) * DIMS.H)
  # Channel i of the half-split layout is channel order[i] of the interleaved one.
  order = np.r_[0:width:2, 1:width:2, width : DIMS.H]

  def permute(x_BTD, heads):
    x = x_BTD.reshape(*x_BTD.shape[:2], heads, -1)
    return x.at[..., : DIMS.H].set(x[..., order]).reshape(x_BTD.shape)

  other = dict(inputs, q=permute(inputs['q'], DIMS.N), k=permute(inputs['k'], DIMS.K))

  @jax.jit
  def meet(*both):
    cases = zip(('interleaved', 'half'), both, strict=True)
    found = (ends(Rope(layout=layout, **args), x, at, at) for layout, x in cases)
    return [(q.h, k.h) for q, k, _ in found]

  want, got = meet(inputs, other)
  close(got, tuple(h[..., order] for h in want), 1e-15, 1e-15)


@pytest.mark.parametrize('mover', [
  Randomize(places=CAPACITY), Shift(offsets=1), Cape(0.0, 0.0, 1.0), Pose(target=CAPACITY),
], ids=lambda mover: type(mover).__name__)
def test_a_draw_with_one_outcome_keeps_positions(mover):
  """In training: all positions are drawn, the only shift is 0, nothing is skipped."""
  at = place(Randomize(), segments(*ROWS))

  @jax.jit
  def moved(at):
    return Bound(mover.with_dims(DIMS)).positions(at, first_state(mover, len(ROWS)).sequence)[0]

  np.testing.assert_array_equal(moved(at), at.pos)


@pytest.mark.parametrize('layout, offset', [
  ('interleaved', 0), ('half', 2), ('tensor2tensor', 2),
])
def test_a_learned_table_of_sinusoids_is_sinusoidal(layout, offset):
  at = place(Learned(), segments(*ROWS))

  @jax.jit
  def both(x_BTD, at):
    rows_1R = jnp.arange(40 + offset)[None]
    table_RD = sinusoid(rows_1R, DIMS.D, layout=layout, dtype=jnp.float64)[0]
    bound = (
      Bound(Learned(length=40, offset=offset).with_dims(DIMS), dict(table_RD=table_RD)),
      Bound(Sinusoidal(layout=layout, offset=offset).with_dims(DIMS)),
    )
    return [encoding.embed(x_BTD, at, ())[0] for encoding in bound]

  got, want = both(draw(Nope())['q'], at)
  close(got, want, 1e-15, 1e-15)
