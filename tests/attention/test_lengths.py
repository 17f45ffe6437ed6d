"""Scalings that depend on the length: each token is read as if the text ended at that token.

The contract compares them with the oracle, query by query, and decoding with the forward pass. This
file compares them with RoPE as trained, with shorter texts and with other batches.
"""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import decoding
from posjax.encodings import Positions
from posjax.encodings.rope import Rope
from posjax.models.pattern import Pattern
from posjax.models.transformer import Transformer
from tests.attention.test_cache import LENGTH, decode, draw_params, text
from tests.support.problem import FIVES, REFERENCE, close

L = 16  # the trained length; texts have 24 tokens, or more
SCALINGS = {
  'dynamic': dict(rope_type='dynamic', factor=4.0, original_max_position_embeddings=L),
  'longrope': dict(
    rope_type='longrope', factor=4.0, original_max_position_embeddings=L,
    short_factor=(1.0, 1.0, 1.0, 1.0), long_factor=(1.0, 2.0, 3.5, 5.0), attention_factor=1.0,
  ),
}
kinds = pytest.mark.parametrize('kind', [
  'dynamic', pytest.param('longrope', marks=pytest.mark.slow)
])


def make_model(scaling, dtype='float64', layers=1):
  model = Transformer(
    pattern=None, vocabulary=257, dim=32, layers=layers, heads=4, kv_heads=2, head_dim=8,
    hidden=48, dtype=dtype, attention=flax.core.FrozenDict(REFERENCE),
  )
  return model.clone(pattern=Pattern((Rope(base=50.0, scaling=scaling).with_dims(model.dims),)))


def counted(length, rows=1):
  order = jnp.arange(length, dtype=jnp.int32)[None].repeat(rows, 0)
  return Positions(order[..., None], order, jnp.zeros_like(order))


@kinds
def test_each_token_is_read_as_if_the_text_ended_there(kind, float64):
  """In one layer, the prefix equals RoPE with the frequencies of that fixed length."""
  model = make_model(SCALINGS[kind])
  tokens_BT, _ = text(np.arange(LENGTH)[None].repeat(2, 0))
  params = draw_params(model, tokens_BT, counted(LENGTH, 2))
  apply = jax.jit(lambda model, *args: model.apply({'params': params}, *args)[0], static_argnums=0)
  whole = apply(model, tokens_BT, counted(LENGTH, 2))
  (rope,) = model.pattern.encodings
  for t in (1, L, L + 1, LENGTH):
    part = tokens_BT[:, :t], counted(t, 2)
    close(apply(model, *part), whole[:, :t])
    # `long_factor` divides theta per plane, so it can express one length's frequencies.
    divisors = tuple((rope.frequencies() / rope.scaled(t).theta).tolist())
    fixed = SCALINGS['longrope'] | dict(short_factor=divisors, long_factor=divisors)
    close(apply(make_model(fixed), *part)[:, -1], whole[:, t - 1])


def test_dynamic_is_ntk_with_a_factor_from_the_length():
  """The NTK factor is s max(length, L) / L - (s - 1): 4 * 64 / 16 - 3 = 13 for 64 tokens."""
  (dynamic,), (ntk,) = (
    make_model(scaling).pattern.encodings
    for scaling in (SCALINGS['dynamic'], dict(rope_type='ntk', factor=13.0))
  )
  np.testing.assert_allclose(dynamic.scaled(4 * L).theta, ntk.scaled().theta, 1e-14)


@kinds
def test_scalings_equal_rope_bitwise_up_to_the_trained_length(kind):
  tokens_BT, at = text(np.arange(LENGTH, dtype=np.int32)[None].repeat(2, 0))
  plain, scaled = (make_model(scaling, 'float32') for scaling in ({}, SCALINGS[kind]))
  params = draw_params(plain, tokens_BT, at)
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  blocks = [model.clone(attention=flax.core.FrozenDict(FIVES)) for model in (plain, scaled)]
  for models in ((plain, scaled), blocks):
    want, got = (jax.jit(model.apply)({'params': params}, tokens_BT, at)[0] for model in models)
    np.testing.assert_array_equal(got[:, :L], want[:, :L])
    assert np.abs(got[0, L:] - want[0, L:]).max() > 1e-2
  want, got = (decode(model, params, tokens_BT, at) for model in (plain, scaled))
  np.testing.assert_array_equal(got[:, :L], want[:, :L])


@pytest.fixture(scope='module')
def generated():
  """Returns {kind: greedy tokens of a short and a long prompt alone, and of both together}."""
  greedy = dict(tokens=40, rng=jax.random.key(0), temperature=0, top_k=0, top_p=1)
  rng, found = np.random.default_rng(4), {}
  prompts = [rng.integers(256, size=n, dtype=np.int32) for n in (5, 60)]
  for kind, scaling in {'rope': {}, 'dynamic': SCALINGS['dynamic']}.items():
    model = make_model(scaling, 'float32', layers=2)
    params = draw_params(model, jnp.zeros((1, 4), jnp.int32), counted(4))
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    ask = functools.partial(decoding.generate, model, params, **greedy)
    rows = lambda prompts: np.concatenate([*ask(decoding.pad(prompts))], axis=1)  # noqa: B023
    found[kind] = np.concatenate([rows([p]) for p in prompts]), rows(prompts)
  return found


def test_generation_equals_rope_up_to_the_trained_length(generated):
  """For any cache size, over five tokens and eleven more; longer texts are not compared."""
  (plain, _), (scaled, _) = generated['rope'], generated['dynamic']
  assert (scaled[0, : L - 5 + 1] == plain[0, : L - 5 + 1]).all()
  assert (scaled[0, L - 5 + 1 :] != plain[0, L - 5 + 1 :]).any()
  assert len(np.unique(plain[0, : L - 5])) > 3  # one repeated token would pass too easily


def test_a_row_does_not_depend_on_other_rows(generated):
  alone, together = generated['dynamic']
  assert (alone == together).all()
