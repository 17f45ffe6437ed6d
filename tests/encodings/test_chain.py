"""Chains: parts run in the given order; traits, weights and errors combine those of all parts."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from posjax.attention import visible
from posjax.encodings import Bound, Chain, Encoding, Pair, name_of
from posjax.encodings.alibi import Alibi
from posjax.encodings.cope import Cope
from posjax.encodings.core.arrays import per_head, qk_logits
from posjax.encodings.dape import Dape
from posjax.encodings.fope import Fope
from posjax.encodings.fox import Fox
from posjax.encodings.kerple import Kerple
from posjax.encodings.learned import Learned
from posjax.encodings.nope import Nope
from posjax.encodings.path import Path
from posjax.encodings.pope import Pope
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.encodings.rotary_values import RotaryValues
from posjax.encodings.self_extend import SelfExtend
from posjax.encodings.shaw import Shaw
from posjax.encodings.sinusoidal import Sinusoidal, sinusoid
from posjax.encodings.stick_breaking import StickBreaking
from posjax.encodings.xpos import Xpos
from tests.support.problem import (
  CAUSAL,
  DIMS,
  FIVES,
  REFERENCE,
  ROWS,
  attention,
  close,
  draw,
  first_state,
  heads,
  place,
  segments,
)

pytestmark = pytest.mark.usefixtures('float64')


# Traits.


def stub(**traits):
  return type('Stub', (Encoding,), traits)()


@pytest.mark.parametrize('trait, rule', [
  ('shift_invariant', all), ('sees_itself', all),
  ('whole_positions', any), ('causal_only', any), ('contiguous', any), ('all_heads', any),
  ('own_score', any), ('looks_ahead', any), ('fractions', any),
])
def test_traits_of_a_chain_are_those_of_all_or_any_parts(trait, rule):
  for values in itertools.product((False, True), repeat=2):
    assert getattr(Chain(tuple(stub(**{trait: value}) for value in values)), trait) is rule(values)


def test_numeric_traits_of_a_chain_are_summed():
  one, other = stub(reach=2, limit=9, widest_block=64), stub(reach=1, limit=7, normalizer='none')
  for parts in ((one, other), (other, one)):
    chain = Chain(parts)
    assert (chain.reach, chain.limit, chain.widest_block, chain.normalizer) == (2, 7, 64, 'none')
  embedding = [stub(reach=n, embed=lambda self, x_BTD, at, state: (x_BTD, state)) for n in (2, 3)]
  assert Chain((one, *embedding, other)).reach == 2 + 3 + 2
  wide = Chain((stub(head_width_factor=2), Nope(), stub(head_width_factor=3)))
  assert wide.head_width_factor == 6
  assert Chain((Nope(), stub(tile=(1, 2)), Rope())).tile == (1, 2)
  chain = Chain((Nope(), Rope()))
  assert chain.head_width_factor == 1 and chain.tile == (1, 1)
  assert (chain.reach, chain.limit, chain.widest_block, chain.normalizer) == (
    0, None, None, 'softmax'
  )
  assert chain.depends_on_capacity == '' and chain.inert == ()
  assert Chain((Rope(), Randomize())).depends_on_capacity == Randomize.depends_on_capacity
  assert Chain((Rope(), Dape())).inert == ('dape/output_bias_LN',)


# Weights.


def test_weights_are_stored_under_the_names_of_the_parts():
  """Parts without weights, such as rope, have no entry."""
  shapes = lambda encoding: jax.eval_shape(
    encoding.with_dims(DIMS).init_weights, jax.random.key(0)
  )
  fox, dape, learned = Fox(bias=2.5), Dape(), Learned(length=8)
  assert shapes(Chain((Rope(), fox, dape, learned))) == {
    'fox': shapes(fox), 'dape': shapes(dape), 'learned': shapes(learned)
  }
  assert shapes(Chain((Rope(), Nope()))) == {}
  chain = Chain((Rope(), fox)).with_dims(DIMS)
  weights = chain.init_weights(jax.random.key(0))
  assert (weights['fox']['gate_bias_LN'] == 2.5).all()
  close(chain.apply({'params': weights}, method='weights'), weights, 0, 0)


# Invalid chains.


@pytest.mark.parametrize('parts, message', [
  ((), 'a chain needs two or more encodings, each once; it is '),
  ((Rope(),), 'a chain needs two or more encodings, each once; it is rope'),
  ((Rope(), Nope(), Rope(base=5.0)),
   'a chain needs two or more encodings, each once; it is rope+nope+rope'),
  ((Rope(), Alibi(), Path()),
   'path computes its own logits: it must come before alibi, whose term would be lost'),
  ((Path(), Xpos()),
   'xpos computes its own logits: it must come before path, whose term would be lost'),
  ((StickBreaking(), Nope(), Fox()),
   'stick_breaking turns logits into attention weights: it must come after fox'),
  ((Path(), Pope()),
   'pope widens the heads of queries and keys: it goes with encodings of embeddings, positions or '
   'biases, not with path'),
  ((Rope(), SelfExtend()),
   'self_extend rotates queries and keys for its own logits: rope would rotate them a second time'),
  ((Xpos(), Fope()),
   'xpos rotates queries and keys for its own logits: fope would rotate them a second time'),
  ((Rope(), RotaryValues(), Shaw()),
   'rotary_values rotates values, but the term that shaw adds to outputs would not be rotated'),
  ((StickBreaking(), RotaryValues(back=True)),
   'rotary_values rotates values, but the term that stick_breaking adds to outputs would not be '
   'rotated'),
  ((Rope(), Alibi(bias_max=-1.0)), 'bias_max must be positive, so that slopes fall; it is -1.0'),
])
def test_invalid_chains_are_refused(parts, message):
  with pytest.raises(ValueError) as error:
    Chain(parts).with_dims(DIMS)
  assert str(error.value) == message


# Hooks run in order; each part has its own features, carry, weights and state.


def alone(encoding, weights, inputs, at, s_BNTS):
  """Returns the scores of a single encoding, computed without blocks, and the mask."""
  bound = Bound(encoding.with_dims(DIMS), weights)
  state = first_state(encoding, len(inputs['q'])).layer
  q_features, k_features = (bound.features(inputs[part], at, state)[0] for part in 'qk')
  q = bound.query(at.attach(heads(inputs['q'], DIMS.N) * DIMS.scale, inputs['v'], q_features))
  k = bound.key(at.attach(heads(inputs['k'], DIMS.K), inputs['v'], k_features))
  k = bound.key_block(k)
  pair = Pair(q, k, visible(q, k, **CAUSAL), bound.position_bias(q, k))
  return bound.score(s_BNTS, pair, bound.init_carry(q))[0], pair.mask


def one_after_the_other(parts, inputs, at):
  s_BNTS = qk_logits(heads(inputs['q'], DIMS.N) * DIMS.scale, heads(inputs['k'], DIMS.K))
  for part in parts:
    weights = inputs['weights'].get(name_of(part), {})
    s_BNTS, mask_B1TS = alone(part, weights, inputs, at, s_BNTS)
  p_BNTS = jnp.where(mask_B1TS, jnp.exp(s_BNTS), 0)
  total_BNT1 = jnp.sum(p_BNTS, axis=-1, keepdims=True)
  if parts[-1].normalizer == 'none':
    p_BNTS += (1 - total_BNT1) * jnp.eye(12)  # the remainder goes to the token's own value
  else:
    p_BNTS /= jnp.where(total_BNT1 > 0, total_BNT1, 1)
  v_BSKH = jnp.where(at.segment_ids[..., None, None] >= 0, inputs['v'], 0)  # padding has no value
  return jnp.einsum('BNTS,BSNH->BTNH', p_BNTS, per_head(v_BSKH, DIMS.N))


@pytest.mark.parametrize('parts', [
  (Alibi(), Kerple()),
  (Fox(), Shaw(clip=4, with_values=False), Kerple()),
  (Path(rank=5), Cope(rows=4), Fox()),
  (Cope(rows=4), StickBreaking()),
], ids=lambda parts: '+'.join(map(name_of, parts)))
def test_scores_pass_through_the_parts_in_order(parts):
  chain = Chain(parts)
  inputs, at = draw(chain), place(chain, segments(*ROWS))

  @jax.jit
  def solve(inputs, at):
    got = [attention(chain, inputs, at, at, **CAUSAL, **way) for way in (REFERENCE, FIVES)]
    return one_after_the_other(parts, inputs, at), got

  want, got = solve(inputs, at)
  close(got, [want, want], 1e-12, 1e-12)


def test_a_part_that_does_nothing_changes_nothing():
  inputs, at = draw(Rope()), place(Rope(), segments(*ROWS))

  @jax.jit
  def solve(inputs, at):
    encodings = Rope(), Chain((Rope(), Nope())), Chain((Nope(), Rope()))
    return [attention(each, inputs, at, at, **CAUSAL, **FIVES) for each in encodings]

  want, *got = solve(inputs, at)
  close(got, [want, want], 1e-14, 1e-14)


class Doubled(Encoding):
  """Doubles the position and the embedding."""

  def positions(self, at, state):
    return 2 * at.pos, state

  def embed(self, x_BTD, at, state):
    return 2 * x_BTD, state


def test_parts_embed_in_order_at_the_final_positions():
  learned, at = Learned(length=64), place(Learned(), segments(*ROWS))
  inputs = draw(learned)
  x_BTD, pe_BTD = inputs['q'], inputs['weights']['table_RD'][2 * at.pos[..., 0]]
  for parts, want in (
    ((Doubled(), learned), 2 * x_BTD + pe_BTD),
    ((learned, Doubled()), 2 * (x_BTD + pe_BTD)),
  ):
    bound = Bound(Chain(parts).with_dims(DIMS), {'learned': inputs['weights']})
    pos, _ = bound.positions(at, ((), ()))
    close(bound.embed(x_BTD, at.replace(pos=pos), ((), ()))[0], want, 1e-15, 0)


def test_all_parts_share_the_drawn_positions():
  randomize, at = Randomize(places=90), place(Randomize(), segments(*ROWS))
  drawn_C = first_state(randomize, 4).sequence[0]
  p, x_BTD = at.pos[..., 0], draw(Nope())['q']
  for parts, pos_BT in (
    ((randomize, Sinusoidal()), drawn_C[p]),
    ((Sinusoidal(), randomize), drawn_C[p]),
    ((Doubled(), randomize), drawn_C[2 * p]),
    ((randomize, Doubled(), Sinusoidal()), 2 * drawn_C[p]),
  ):
    chain = Chain(parts).with_dims(DIMS)
    pos, after = Bound(chain).positions(at, first_state(chain, 4).sequence)
    assert (pos[..., 0] == pos_BT).all()
    assert all((x == drawn_C).all() for x in jax.tree.leaves(after))
    factor = 2 if Doubled() in parts else 1
    want = factor * x_BTD
    if Sinusoidal() in parts:
      want += sinusoid(pos_BT, DIMS.D, dtype=jnp.float64)
    close(Bound(chain).embed(x_BTD, at.replace(pos=pos), after)[0], want, 1e-14, 1e-14)
