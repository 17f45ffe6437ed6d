"""Positions with two axes: packing, training, decoding, and refusal by one-axis encodings."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from posjax.batch import padded
from posjax.data import pipeline
from posjax.encodings import Chain, Positions, find, names
from posjax.encodings.abacus import Abacus
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.errors import UserError
from posjax.models import transformer
from posjax.models.pattern import Pattern
from posjax.train_step import gradients
from tests.support.grid import SIDE, Above, Grid, make

LENGTH = SIDE * SIDE
SIZES = dict(vocabulary=8, dim=32, layers=1, heads=2, kv_heads=2, head_dim=16, hidden=64)


def model(encoding, axes=2):
  bare = transformer.Transformer(pattern=None, axes=axes, **SIZES)
  encoding = encoding.with_dims(bare.dims)
  return bare.clone(pattern=Pattern((encoding,), (0,), ('grid',), (0,)))


def opened():
  return Above().open(None, LENGTH, [LENGTH])


def test_rows_carry_the_positions_of_their_examples():
  batches = pipeline.batches(
    opened().train, name='above', length=2 * LENGTH, answers=2 * LENGTH, batch=2, seed=0
  )
  batch = next(batches)
  assert batch.stream.pos.shape == (2, 2 * LENGTH, 2)
  assert (batch.stream.segment_ids == np.repeat([0, 1], LENGTH)).all()
  for half in np.split(batch.stream.pos, 2, axis=1):
    cells = half[..., 0] * SIDE + half[..., 1]
    assert (np.sort(cells, axis=1) == np.arange(LENGTH)).all()


def test_two_axes_learn_the_grid_task_and_nope_does_not():
  """A step to the row above is a rotation; the loss falls below half of NoPE's."""
  examples = [make(np.random.default_rng(i)) for i in range(64)]
  task, losses = Above(), {}
  row = lambda examples: jax.tree.map(jnp.asarray, padded(examples, LENGTH, LENGTH))
  for name, encoding in (('grid', Grid()), ('nope', Nope())):
    own = model(encoding)
    params = transformer.init(own, jax.random.key(0))
    adamw = optax.adamw(1e-2)
    opt_state = adamw.init(params)

    @jax.jit
    def step(params, opt_state, batch, own=own, adamw=adamw):
      loss, grads = gradients(task, own, params, batch, rng=jax.random.key(0), accumulate=1)
      updates, opt_state = adamw.update(grads, opt_state, params)
      return optax.apply_updates(params, updates), opt_state, loss

    for start in itertools.islice(itertools.cycle(range(0, 64, 16)), 120):
      params, opt_state, losses[name] = step(params, opt_state, row(examples[start : start + 16]))
  assert losses['grid'] < 0.5 * losses['nope']


def test_cached_decoding_equals_forward():
  own = model(Chain((Abacus(digits=(1, 2)), Grid())))
  params = transformer.init(own, jax.random.key(0))
  example = make(np.random.default_rng(0))
  order_BT = jnp.arange(LENGTH, dtype=jnp.int32)[None]
  at = Positions(jnp.asarray(example.pos)[None], order_BT, jnp.zeros_like(order_BT))
  tokens_BT = jnp.asarray(example.x)[None]
  whole, _ = jax.jit(own.apply)({'params': params}, tokens_BT, at)
  cache, got = own.init_cache(1, LENGTH), []
  step = jax.jit(lambda tokens_BT, at, cache: own.apply({'params': params}, tokens_BT, at, cache))
  for start, end in itertools.pairwise((0, 5, *range(6, LENGTH + 1))):
    part = jax.tree.map(lambda x, s=slice(start, end): x[:, s], at)
    logits, cache = step(tokens_BT[:, start:end], part, cache)
    got.append(logits)
  np.testing.assert_allclose(np.concatenate(got, axis=1), whole, rtol=1e-5, atol=1e-5)


def test_an_encoding_of_one_axis_is_refused():
  with pytest.raises(UserError) as raised:
    transformer.init(model(Rope()), jax.random.key(0))
  said = str(raised.value)
  start, _, able = said.partition('encodings for 2: ')
  assert start == 'encoding.grid: it reads 1 position axis, but the positions have 2; '
  able = able.split(', ')
  assert {'abacus', 'nope', 'rope_nd'} <= {*able} and 'rope' not in able
  said = r'^encoding\.grid: it reads 2 position axes, but the positions have 1;'
  with pytest.raises(UserError, match=said):
    transformer.init(model(Grid(), axes=1), jax.random.key(0))
  with pytest.raises(ValueError, match='^rope reads 1 position axis, and grid 2$'):
    Chain((Rope(), Grid())).with_dims(model(Nope()).dims)


@pytest.mark.parametrize('name', names())
def test_encodings_that_read_ids_are_refused_for_vectors(name):
  """Only these: every other encoding of one axis embeds and moves tokens without ids."""
  bare = transformer.Transformer(
    pattern=None, vectors=4, causal=not find(name)().looks_ahead, **(SIZES | {'outputs': 8})
  )
  try:
    encoding = find(name)().with_dims(bare.dims)
  except ValueError:
    pytest.skip('its defaults do not fit these dims')
  own = bare.clone(pattern=Pattern((encoding,), (0,), (name,), (0,)))
  make = lambda: jax.eval_shape(lambda rng: transformer.init(own, rng), jax.random.key(0))
  if encoding.reads_ids:
    with pytest.raises(UserError, match=f'^encoding.{name}: it reads token ids, but the tokens'):
      make()
  else:
    assert make()['input_CD'].shape == (4, SIZES['dim'])
