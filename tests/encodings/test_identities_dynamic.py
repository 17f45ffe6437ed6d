"""Content-dependent encodings that equal another one at certain weights; their functions.

As in tests/encodings/test_identities_relative.py; all exact in float64.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings.alibi import Alibi
from posjax.encodings.cope import Cope
from posjax.encodings.core.arrays import qk_logits
from posjax.encodings.dape import BASES, Dape
from posjax.encodings.fox import Fox
from posjax.encodings.nope import Nope
from posjax.encodings.path import Path, inverse
from posjax.encodings.shaw import Shaw
from posjax.encodings.stick_breaking import StickBreaking
from tests.encodings.test_identities import count_places
from tests.encodings.test_identities_relative import UNDONE, check, solve
from tests.oracles import attention as oracle
from tests.support.problem import CAUSAL, DIMS, ROWS, close, draw, heads, segments

pytestmark = [pytest.mark.usefixtures('float64'), pytest.mark.slow]

TABLE_HR = np.random.default_rng(1).normal(size=(DIMS.H, 6))

# An encoding, weights that replace drawn ones, and the encoding that it then equals, with its
# weights.
IDENTITIES = {
  'FoX with constant gates is ALiBi':
    (Fox(), dict(gate_LDN=0, gate_bias_LN=-UNDONE), Alibi(), {}),
  'FoX with gates of 1 is NoPE': (Fox(), dict(gate_bias_LN=1000), Nope(), {}),
  'CoPE with a table of 0 is NoPE': (Cope(rows=6), dict(table_LHR=0), Nope(), {}),
  'CoPE that is not scaled has a larger table': (
    Cope(rows=6, scaled=False), dict(table_LHR=DIMS.scale * TABLE_HR),
    Cope(rows=6), dict(table_LHR=TABLE_HR),
  ),
  'PaTH that reflects nothing is NoPE': (Path(rank=5), dict(beta_bias_LK=-1000), Nope(), {}),
}


@pytest.mark.parametrize('name', IDENTITIES)
def test_encodings_equal_others_at_certain_weights(name):
  check(*IDENTITIES[name])


@pytest.mark.parametrize('base', BASES)
def test_dape_with_a_zero_network_is_its_base(base):
  """Except for its last offset, which is constant over the keys of a query."""
  encoding = Dape(base=base, width=3)
  inputs = draw(encoding)
  got, by_blocks = solve(encoding, inputs, output_LRN=0)
  want, _ = solve(BASES[base](), dict(inputs, weights=inputs['weights'].get('static', {})))
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


# FoX.


class OfKeys(Fox):
  """Minus the cumulative sum of log gates up to each key, from the start of the row."""

  def features(self, x_BTD, at, state):
    log_f_BTN, state = super().features(x_BTD, at, state)
    return jnp.cumsum(log_f_BTN, axis=1), state

  def key_block(self, k):
    return k

  def init_carry(self, q):
    return ()

  def score(self, s_BNTS, pair, carry):
    return s_BNTS - pair.k.features.swapaxes(1, 2)[:, :, None], carry


@pytest.mark.parametrize('rows', [ROWS, ['0' * 12] * 4], ids=['packed', 'blocks that all see'])
def test_fox_is_a_bias_of_each_key(rows):
  inputs, at = draw(Fox()), count_places(segments(*rows))
  got, by_blocks = solve(Fox(), inputs, at)
  want, _ = solve(OfKeys(), inputs, at)
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


# CoPE.


def test_cope_with_open_gates_is_a_table_of_distances():
  """Shaw's keys: i - j + 1 tokens are counted, at most 5."""
  inputs = draw(Cope(rows=6))
  # The first channel of each head makes all logits 106, plus the other channels' part.
  inputs |= dict(q=inputs['q'].at[..., ::8].set(30), k=inputs['k'].at[..., ::24].set(10))
  got, by_blocks = solve(Cope(rows=6), inputs, table_LHR=TABLE_HR)
  # Rows are indexed by key minus query, from -4 on; rows of later keys are never read.
  keys_RH = np.pad(TABLE_HR.T[:0:-1], [(0, 4), (0, 0)])
  shaw = Shaw(clip=4, with_values=False)
  want, _ = solve(shaw, dict(inputs, weights={}), keys_LRH=keys_RH)
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


# Stick-breaking.


def test_stick_breaking_weights_and_remainder_sum_to_one():
  inputs = draw(StickBreaking())
  inputs['v'] = jnp.ones_like(inputs['v'])
  (o, _), by_blocks = solve(StickBreaking(), inputs)
  at = count_places(segments(*ROWS))
  token_BT11 = (at.segment_ids >= 0)[..., None, None]  # padding has no value
  for got in (o, by_blocks):
    close(got, jnp.broadcast_to(jnp.where(token_BT11, 1.0, 0.0), o.shape), 1e-12, 1e-12)
  # The remainder is the product of 1 - sigmoid(s) = sigmoid(-s) over all earlier keys.
  seen = oracle.visible(at.order, at.order, at.segment_ids, at.segment_ids, **CAUSAL)
  earlier_B1TS = (seen & ~np.eye(12, dtype=bool))[:, None]
  s_BNTS = qk_logits(heads(inputs['q'], DIMS.N) * DIMS.scale, heads(inputs['k'], DIMS.K))
  left_BNT = jnp.prod(jnp.where(earlier_B1TS, jax.nn.sigmoid(-s_BNTS), 1), axis=-1)
  (o, _), by_blocks = solve(StickBreaking(remainder=False), inputs)
  for got in (o, by_blocks):
    want = jnp.where(token_BT11, 1 - left_BNT.swapaxes(1, 2)[..., None], 0)
    close(got, jnp.broadcast_to(want, o.shape), 1e-12, 1e-12)


# PaTH.


def test_path_inverse():
  """Inverts I + 2 W W^T, below the diagonal; row 0 repeats one w, as repeated tokens do."""
  rng, Ms = np.random.default_rng(1), []
  for size in (1, 2, 3, 5, 8, 12, 33):
    w = rng.normal(size=(4, size, 8))
    w[0] = np.eye(8)[0]
    w /= np.linalg.norm(w, axis=-1, keepdims=True)
    Ms.append(np.tril(2 * w @ w.mT, -1))
  wants = [np.linalg.inv(np.eye(M.shape[-1]) + M) for M in Ms]
  every = jax.jit(lambda Ms: [inverse(M) for M in Ms])
  close(every(Ms), wants, 1e-12, 1e-12)
  with jax.enable_x64(False):
    narrow = every([np.float32(M) for M in Ms])
  for got, want in zip(narrow, wants, strict=True):
    assert got.dtype == jnp.float32 and np.abs(np.float64(got) - want).max() < 1e-5
    # A series would add powers of M; at size 33 the middle ones reach 1e14.
    apart = np.subtract.outer(np.arange(len(want[0])), np.arange(len(want[0])))
    exact = np.where(apart > 0, 2.0 * (-1.0) ** apart, apart == 0)
    assert (got[0] == exact).all()
