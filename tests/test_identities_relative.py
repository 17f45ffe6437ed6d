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
ONCE = np.log(np.expm1(SLOPES))  # of which softplus makes slopes again, and log sigmoid of -ONCE
C = 0.3  # any number above 0

# An encoding, those of its weights that are not as drawn, and what it is then, with its weights.
IDENTITIES = {
  'FoX with constant gates is ALiBi':
    (Fox(), dict(gate_LDN=0, gate_bias_LN=-ONCE), Alibi(), {}),
  'FoX with gates of 1 is NoPE': (Fox(), dict(gate_bias_LN=1000), Nope(), {}),
  'KERPLE of power 1 is ALiBi': (Kerple(kernel='power'), dict(r1_N=ONCE, r2_N=0), Alibi(), {}),
  'T5 with a table that falls evenly is ALiBi':
    (T5(), dict(table_RN=-SLOPES * np.arange(32)[:, None]), Alibi(), {}),
  # No position is beyond 64, so that all distances are shares of the same.
  'FIRE with one hidden unit is KERPLE': (
    Fire(length=64, width=1),
    dict(
      first_LR=1, first_bias_LR=0, second_LRN=-SLOPES * (np.log1p(64 * C) + 1e-6), c_L=C,
      multiplier_L=1,
    ),
    Kerple(), dict(r1_N=ONCE, r2_N=np.log(np.expm1(C))),
  ),
  'PaTH that reflects nothing is NoPE': (Path(rank=5), dict(beta_bias_LK=-1000), Nope(), {}),
  'Transformer-XL without W_R and u is NoPE':
    (TransformerXl(), dict(position_LDNH=0, u_NH=0), Nope(), {}),
  'Shaw with tables of 0 is NoPE': (Shaw(clip=4), dict(keys_LRH=0, values_LRH=0), Nope(), {}),
  'Shaw with keys that are alike is NoPE':
    (Shaw(clip=4, values=False), dict(keys_LRH=np.arange(8)), Nope(), {}),
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
  encoding = Dape(base=base, width=3)
  inputs = draw(encoding)
  got, by_blocks = solve(encoding, inputs, output_LRN=0)
  want, _ = solve(BASES[base](), dict(inputs, weights=inputs['weights'].get('static', {})))
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)
