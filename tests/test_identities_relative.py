"""Encodings that become another one at certain weights, and what their functions must give.

All exact in float64, but for what is said to be float32.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings import Chain
from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.cope import Cope
from posjax.encodings.dape import BASES, Dape
from posjax.encodings.encoding import scores
from posjax.encodings.fire import Fire, share
from posjax.encodings.fox import Fox
from posjax.encodings.kerple import Kerple
from posjax.encodings.nope import Nope
from posjax.encodings.path import Path, inverse
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.encodings.shaw import Shaw
from posjax.encodings.stick_breaking import StickBreaking
from posjax.encodings.t5 import T5, bucket
from posjax.encodings.transformer_xl import TransformerXl
from posjax.encodings.xpos import Xpos
from tests.oracles import attention as oracle
from tests.problem import (
  CAPACITY,
  CAUSAL,
  DIMS,
  FIVES,
  REFERENCE,
  ROWS,
  attention,
  close,
  draw,
  heads,
  jit,
  segments,
)
from tests.test_identities import count_places
from tests.test_oracles import golden

pytestmark = pytest.mark.usefixtures('float64')

SLOPES = slopes(DIMS.N)
UNDONE = np.log(np.expm1(SLOPES))  # the slopes are softplus of these, and -log sigmoid of -these
C = 0.3  # any number above 0

# An encoding, those of its weights that are not as drawn, and what it is then, with its weights.
IDENTITIES = {
  'FoX with constant gates is ALiBi':
    (Fox(), dict(gate_LDN=0, gate_bias_LN=-UNDONE), Alibi(), {}),
  'FoX with gates of 1 is NoPE': (Fox(), dict(gate_bias_LN=1000), Nope(), {}),
  'KERPLE of power 1 is ALiBi': (Kerple(kernel='power'), dict(r1_N=UNDONE, r2_N=0), Alibi(), {}),
  'T5 with a table that falls evenly is ALiBi':
    (T5(), dict(table_RN=-SLOPES * np.arange(32)[:, None]), Alibi(), {}),
  # No position is beyond 64, so that all distances are shares of the same.
  'FIRE with one hidden unit is KERPLE': (
    Fire(length=64, width=1),
    dict(
      first_LR=1, first_bias_LR=0, second_LRN=-SLOPES * (np.log1p(64 * C) + 1e-6), c_L=C,
      multiplier_L=1,
    ),
    Kerple(), dict(r1_N=UNDONE, r2_N=np.log(np.expm1(C))),
  ),
  'PaTH that reflects nothing is NoPE': (Path(rank=5), dict(beta_bias_LK=-1000), Nope(), {}),
  'Transformer-XL without W_R and u is NoPE':
    (TransformerXl(), dict(position_LDNH=0, u_NH=0), Nope(), {}),
  'Shaw with tables of 0 is NoPE': (Shaw(clip=4), dict(keys_LRH=0, values_LRH=0), Nope(), {}),
  'Shaw with keys that are alike is NoPE':
    (Shaw(clip=4, with_values=False), dict(keys_LRH=np.arange(8)), Nope(), {}),
  'xPos that does not shrink is RoPE': (Xpos(gamma=1e15), {}, Rope(layout='interleaved'), {}),
  'a draw of all places there are is none':
    (Chain((Randomize(limit=CAPACITY), Rope())), {}, Rope(), {}),
}


@functools.cache
def solver(encoding):
  """Output and gradients by the reference, and the output by blocks."""

  def solve(weights, streams, at):
    def output(streams, **way):
      return attention(encoding, dict(streams, weights=weights), at, at, **CAUSAL, **way)

    o, back = jax.vjp(functools.partial(output, **REFERENCE), streams)
    return (o, back(jnp.sin(o))[0]), output(streams, **FIVES)

  return jit(solve)


def solve(encoding, inputs, **weights):
  """`weights` are numbers, or what can be broadcast to the shape of the weight."""
  shapes = jax.eval_shape(encoding.with_dims(DIMS).init_weights, jax.random.key(0))
  changed = {k: jnp.broadcast_to(jnp.float64(w), shapes[k].shape) for k, w in weights.items()}
  streams = {part: inputs[part] for part in 'qkv'}
  at = count_places(segments(*ROWS))
  return solver(encoding)(inputs['weights'] | changed, streams, at)


@pytest.mark.parametrize('name', IDENTITIES)
def test_an_encoding_becomes_another(name):
  encoding, weights, other, other_weights = IDENTITIES[name]
  inputs = draw(encoding)
  got, by_blocks = solve(encoding, inputs, **weights)
  want, _ = solve(other, dict(inputs, weights={}), **other_weights)
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


@pytest.mark.parametrize('base', BASES)
def test_dape_whose_network_gives_0_is_its_base(base):
  """But for its last offset, which is the same for all keys of a query."""
  encoding = Dape(base=base, width=3)
  inputs = draw(encoding)
  got, by_blocks = solve(encoding, inputs, output_LRN=0)
  want, _ = solve(BASES[base](), dict(inputs, weights=inputs['weights'].get('static', {})))
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


def test_shaw_with_values_that_are_alike_adds_one_to_each_query_that_sees_a_key():
  inputs, row_H = draw(Shaw(clip=4)), np.arange(8.0)
  (o, _), by_blocks = solve(Shaw(clip=4), inputs, keys_LRH=0, values_LRH=row_H)
  (without, _), _ = solve(Nope(), dict(inputs, weights={}))
  sees_BT11 = (segments(*ROWS) >= 0)[..., None, None]
  for got in (o, by_blocks):
    close(got, without + sees_BT11 * row_H, 1e-12, 1e-12)


# CoPE.


class Distances(Cope):
  """CoPE's table by i - j + 1, whatever the gates."""

  def score(self, s_BNTS, pair, carry):
    row_B1TS = jnp.clip(pair.distance[..., 0] + 1, 0, self.rows - 1)
    return s_BNTS + jnp.take_along_axis(pair.q.features.swapaxes(1, 2), row_B1TS, axis=-1), carry


def test_cope_with_open_gates_is_a_table_of_distances():
  inputs = draw(Cope(rows=6))
  # The first channel of each head makes all logits 106, but for what the others add.
  inputs |= dict(q=inputs['q'].at[..., ::8].set(30), k=inputs['k'].at[..., ::24].set(10))
  got, by_blocks = solve(Cope(rows=6), inputs)
  want, _ = solve(Distances(rows=6), inputs)
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


# Stick-breaking.


def test_stick_breaking_gives_away_the_whole_stick_or_all_but_the_remainder():
  inputs = draw(StickBreaking())
  inputs['v'] = jnp.ones_like(inputs['v'])
  (o, _), by_blocks = solve(StickBreaking(), inputs)
  for got in (o, by_blocks):
    close(got, jnp.ones_like(o), 1e-12, 1e-12)
  # What is left is the product of 1 - sigmoid(s) = sigmoid(-s) over all earlier keys.
  at = count_places(segments(*ROWS))
  seen = oracle.visible(at.order, at.order, at.segment_ids, at.segment_ids, **CAUSAL)
  earlier_B1TS = (seen & ~np.eye(12, dtype=bool))[:, None]
  s_BNTS = scores(heads(inputs['q'], DIMS.N) * DIMS.scale, heads(inputs['k'], DIMS.K))
  left_BNT = jnp.prod(jnp.where(earlier_B1TS, jax.nn.sigmoid(-s_BNTS), 1), axis=-1)
  (o, _), by_blocks = solve(StickBreaking(remainder=False), inputs)
  for got in (o, by_blocks):
    close(got, jnp.broadcast_to(1 - left_BNT.swapaxes(1, 2)[..., None], o.shape), 1e-12, 1e-12)


# FIRE.


@pytest.mark.parametrize('i, j, number', [
  (10, 0, 0.17525475), (10, 5, 0.10251746), (511, 0, 0.99951492), (2047, 2046, 0.01789385),
])
def test_fire_share(i, j, number):
  """Numbers of a public implementation, printed to eight digits."""
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
def test_t5_buckets_in_float32(buckets, max_distance, mode, bidirectional, compile):
  """Whole numbers lie on edges of buckets: where the library's own logarithms differ, either is."""
  z = golden('t5_bias')
  case = f'bucket/nb{buckets}_md{max_distance}_{mode}'
  with jax.enable_x64(False):
    place = compile(lambda distance: bucket(distance, buckets, max_distance, bidirectional))
    for dtype in ('int32', 'float32'):
      got = np.asarray(place(jnp.asarray(-z['rel'], dtype)))
      assert ((got == z[case]) | (got == z[f'{case}_f64log'])).all()


# PaTH.


def test_path_inverse():
  """Of I + 2 W W^T, below the diagonal; row 0 has one w for all, as where a token repeats."""
  rng, Ms = np.random.default_rng(1), []
  for size in (1, 2, 3, 5, 8, 12, 33):
    w = rng.normal(size=(4, size, 8))
    w[0] = np.eye(8)[0]
    w /= np.linalg.norm(w, axis=-1, keepdims=True)
    Ms.append(np.tril(2 * w @ w.mT, -1))
  wants = [np.linalg.inv(np.eye(M.shape[-1]) + M) for M in Ms]
  every = jit(lambda Ms: [inverse(M) for M in Ms])
  close(every(Ms), wants, 1e-12, 1e-12)
  with jax.enable_x64(False):
    narrow = every([np.float32(M) for M in Ms])
  for got, want in zip(narrow, wants, strict=True):
    assert got.dtype == jnp.float32 and np.abs(np.float64(got) - want).max() < 1e-5
    # Of the powers of M, which a series would add up, those in the middle are 1e14 at size 33.
    apart = np.subtract.outer(np.arange(len(want[0])), np.arange(len(want[0])))
    exact = np.where(apart > 0, 2.0 * (-1.0) ** apart, apart == 0)
    assert (got[0] == exact).all()
