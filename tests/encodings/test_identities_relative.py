"""Encodings that equal another one at certain weights; values of their functions.

All are exact in float64, except where float32 is named. Content-dependent encodings are in
test_identities_dynamic.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings import Chain, Positions
from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.core.arrays import qk_logits
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.fire import Fire, share
from posjax.encodings.kerple import Kerple
from posjax.encodings.nope import Nope
from posjax.encodings.parts.buckets import bucket
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.encodings.sandwich import Sandwich
from posjax.encodings.shaw import Shaw
from posjax.encodings.sinusoidal import sinusoid
from posjax.encodings.t5 import T5
from posjax.encodings.transformer_xl import TransformerXl
from posjax.encodings.xpos import Xpos
from tests.encodings import test_equations
from tests.encodings.test_identities import count_places
from tests.support.problem import (
  CAPACITY,
  CAUSAL,
  DIMS,
  FIVES,
  REFERENCE,
  ROWS,
  attention,
  close,
  draw,
  place,
  segments,
)
from tests.support.stored import golden

pytestmark = [pytest.mark.usefixtures('float64'), pytest.mark.slow]

SLOPES = slopes(DIMS.N)
UNDONE = np.log(np.expm1(SLOPES))  # the slopes are softplus of these, and -log sigmoid of -these
C = 0.3  # any number above 0
TABLE_RN = np.random.default_rng(1).normal(size=(64, DIMS.N))


def units(c, values_RN):
  """Returns weights of FIRE that give `values` at distances 0, 1, … for positions below 64.

  The network is piecewise linear, with one unit per distance, where the slope changes.
  """
  psi = lambda x: np.log1p(c * x)
  x_R = psi(np.arange(len(values_RN))) / (psi(64) + 1e-6)
  slopes_RN = np.diff(values_RN, axis=0) / np.diff(x_R)[:, None]
  second_RN = np.diff(slopes_RN, axis=0, prepend=0)
  return dict(
    first_LR=1, first_bias_LR=-x_R[:-1], second_LRN=second_RN, second_bias_LN=values_RN[0], c_L=c,
    multiplier_L=1,
  )


class Decayed(Rope):
  """Returns the product's parts per plane, each times zeta_c^((i - j) / 16)."""

  def score(self, s_BNTS, pair, carry):
    part = lambda c: qk_logits(*(end.h[..., 2 * c : 2 * c + 2] for end in (pair.q, pair.k)))
    zeta = (2 * np.arange(4) / 8 + 0.7) / 1.7
    return sum(zeta[c] ** (pair.distance[..., 0] / 16) * part(c) for c in range(4)), carry


class Beside(Encoding):
  """Appends sinusoids of 12 channels to keys and to queries, weighted by each head's share."""

  def query(self, q):
    return self._widen(q, DIMS.N / (8 * np.arange(1, DIMS.N + 1))[:, None])

  def key(self, k):
    return self._widen(k, np.ones((DIMS.K, 1)))

  def _widen(self, tokens, share_N1):
    pe_BTD = sinusoid(tokens.pos[..., 0], 12, 100.0, dtype=jnp.float64)
    return tokens.replace(h=jnp.concatenate([tokens.h, share_N1 * pe_BTD[:, :, None]], axis=-1))


# An encoding, weights that replace drawn ones, and the encoding that it then equals, with its
# weights.
IDENTITIES = {
  'KERPLE of power 1 is ALiBi': (Kerple(kernel='power'), dict(r1_N=UNDONE, r2_N=0), Alibi(), {}),
  'T5 with a table that falls evenly is ALiBi':
    (T5(buckets=64), dict(table_RN=-SLOPES * np.arange(64)[:, None]), Alibi(), {}),
  # No position exceeds 64, so all distances are divided by the same number.
  'FIRE with one hidden unit is KERPLE': (
    Fire(length=64, width=1),
    dict(
      first_LR=1, first_bias_LR=0, second_LRN=-SLOPES * (np.log1p(64 * C) + 1e-6), c_L=C,
      multiplier_L=1,
    ),
    Kerple(), dict(r1_N=UNDONE, r2_N=np.log(np.expm1(C))),
  ),
  # For such a small c, psi(x) is c x.
  'FIRE with one hidden unit and hardly a logarithm is ALiBi':
    (Fire(length=64, width=1), units(1e-14, -SLOPES * np.arange(2)[:, None]), Alibi(), {}),
  'FIRE with a hidden unit for each distance is T5': (
    Fire(length=64, width=24), units(C, TABLE_RN[:25]), T5(buckets=64), dict(table_RN=TABLE_RN)
  ),
  'Sandwich is NoPE of queries and keys with sinusoids beside them':
    (Sandwich(width=12, base=100.0), {}, Beside(), {}),
  'Transformer-XL without W_R and u is NoPE':
    (TransformerXl(), dict(position_LDNH=0, u_NH=0), Nope(), {}),
  'Shaw with tables of 0 is NoPE': (Shaw(clip=4), dict(keys_LRH=0, values_LRH=0), Nope(), {}),
  'Shaw with keys that are alike is NoPE':
    (Shaw(clip=4, with_values=False), dict(keys_LRH=np.arange(8)), Nope(), {}),
  'xPos is RoPE that decays':
    (Xpos(scale_base=16.0, gamma=0.7), {}, Decayed(layout='interleaved'), {}),
  'a draw of all places there are is none':
    (Chain((Randomize(places=CAPACITY), Rope())), {}, Rope(), {}),
}


@functools.cache
def solver(encoding):
  """Returns output and gradients of `reference`, and the output of `blockwise`."""

  def solve(weights, streams, at):
    def output(streams, **way):
      return attention(encoding, dict(streams, weights=weights), at, at, **CAUSAL, **way)

    o, back = jax.vjp(functools.partial(output, **REFERENCE), streams)
    return (o, back(jnp.sin(o))[0]), output(streams, **FIVES)

  return jax.jit(solve)


def solve(encoding, inputs, at=None, **weights):
  """`weights` are numbers, or what can be broadcast to the shape of the weight."""
  shapes = jax.eval_shape(encoding.with_dims(DIMS).init_weights, jax.random.key(0))
  changed = {k: jnp.broadcast_to(jnp.float64(w), shapes[k].shape) for k, w in weights.items()}
  streams = {part: inputs[part] for part in 'qkv'}
  at = count_places(segments(*ROWS)) if at is None else at
  return solver(encoding)(inputs['weights'] | changed, streams, at)


def check(encoding, weights, other, other_weights):
  """Asserts that they agree, at positions that jump unless the first encoding counts tokens."""
  inputs, at = draw(encoding), count_places(segments(*ROWS))
  if not encoding.contiguous:
    at = at.replace(pos=place(Shaw(), at.segment_ids).pos)
  got, by_blocks = solve(encoding, inputs, at, **weights)
  want, _ = solve(other, dict(inputs, weights={}), at, **other_weights)
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


@pytest.mark.parametrize('name', IDENTITIES)
def test_encodings_equal_others_at_certain_weights(name):
  check(*IDENTITIES[name])


def test_shaw_with_equal_value_vectors_adds_that_vector_to_queries_that_see_a_key():
  inputs, row_H = draw(Shaw(clip=4)), np.arange(8.0)
  (o, _), by_blocks = solve(Shaw(clip=4), inputs, keys_LRH=0, values_LRH=row_H)
  (without, _), _ = solve(Nope(), dict(inputs, weights={}))
  sees_BT11 = (segments(*ROWS) >= 0)[..., None, None]
  for got in (o, by_blocks):
    close(got, without + sees_BT11 * row_H, 1e-12, 1e-12)


# FIRE.


@pytest.mark.parametrize('i, j, number', [
  (10, 0, 0.17525475), (10, 5, 0.10251746), (511, 0, 0.99951492), (2047, 2046, 0.01789385),
])
def test_fire_share(i, j, number):
  """Numbers from a public implementation, printed with eight digits."""
  assert abs(share(i - j, i, 0.1, 512.0) - number) < 5e-9


def test_fire_bias():
  z = {key.rpartition('/')[2]: value for key, value in golden('fire_formula').items()}
  i, j = np.arange(9.0)[:, None], np.arange(9.0)
  x_TS1 = np.asarray(share(i - j, i, z['c'], abs(z['L_multiplier'] * z['init_L'])))[..., None]
  bias_TSN = np.maximum(x_TS1 * z['w1'] + z['b1'], 0) @ z['w2'].T + z['b2']
  close(np.moveaxis(bias_TSN, -1, 0), z['bias'], 1e-10, 1e-12)


# T5.


@pytest.mark.parametrize('buckets, max_distance', [(32, 128), (12, 50)])
@pytest.mark.parametrize('mode, bidirectional', [('bi', True), ('causal', False)])
@pytest.mark.parametrize('compile', [jax.jit, lambda f: f], ids=['compiled', 'eager'])
def test_t5_buckets(buckets, max_distance, mode, bidirectional, compile):
  """Integers lie on bucket edges, where a rounded logarithm may fall into the lower bucket."""
  z = golden('t5_bias')
  place = compile(lambda distance: bucket(distance, buckets, max_distance, bidirectional))
  with jax.enable_x64(True):
    for dtype in ('int32', 'float32', 'float64'):
      got = place(jnp.asarray(-z['rel'], dtype))
      np.testing.assert_array_equal(got, z[f'bucket/nb{buckets}_md{max_distance}_{mode}'])


@pytest.mark.parametrize('clamp_len', (0, 5))
def test_one_sided_transformer_xl_sees_later_keys_at_distance_0(clamp_len):
  """Equals its equation at any positions, and at consecutive ones, which use the table."""
  one_sided = TransformerXl(one_sided=True, clamp_len=clamp_len)
  test_equations.test_self_attention_equals_the_oracle(one_sided)
  inputs, at = draw(one_sided), place(one_sided, segments('0' * 12))
  both = dict(causal=False, window=0)
  found = attention(one_sided, inputs, at, at, **both, **REFERENCE)
  other = attention(TransformerXl(clamp_len=clamp_len), inputs, at, at, **both, **REFERENCE)
  assert np.abs(found - other).max() > 1e-2  # in an encoder only
  order = jnp.arange(12)[None]
  line = Positions(order[..., None], order, jnp.zeros_like(order))
  solve = functools.partial(attention, one_sided, inputs, **both, **FIVES)
  table = line.replace(consecutive=True)
  close(solve(at_q=table, at_k=table), solve(at_q=line, at_k=line))
