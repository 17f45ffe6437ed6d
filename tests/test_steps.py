"""A training step and its parts, each with stand-ins for the others: no model is compiled."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import optimizer, train_step
from posjax.batch import Batch, Stream
from posjax.state import State
from posjax.tasks import Task

KEY = jax.random.key(0)


# The loss of each target.


@pytest.mark.parametrize('counts, shift_invariant', [(True, True), (True, False), (False, True)])
def test_losses_are_cross_entropies_of_the_model_in_training_mode(counts, shift_invariant):
  rng = np.random.default_rng(0)
  logits_BTV = rng.normal(size=(2, 4, 5))
  stream = Stream(
    np.zeros((2, 4), np.int32), np.array([[0, 1, 0, 1], [0, 0, 1, 2]])[..., None],
    np.array([[0, 0, 1, 1], [0, 1, 1, 1]]),
  )
  batch = Batch(stream, rng.integers(5, size=(2, 4)), np.ones((2, 4), bool))
  calls = []

  class Model:
    def __init__(self):
      self.shift_invariant = shift_invariant

    def apply(self, *args, **keywords):
      calls.append((args, keywords))
      return jnp.asarray(logits_BTV), None

  task = type('Own', (Task,), {'counts': counts})()
  nats_BT = train_step.losses(task, Model(), 'params', batch, positions='a key', dropout='another')
  p_BTV = np.exp(logits_BTV) / np.exp(logits_BTV).sum(axis=-1, keepdims=True)
  want = -np.log(np.take_along_axis(p_BTV, batch.targets[..., None], axis=-1)[..., 0])
  np.testing.assert_allclose(nats_BT, want, rtol=1e-5)
  [((variables, inputs, at), keywords)] = calls
  assert variables == {'params': 'params'} and inputs is stream.x
  assert keywords == dict(
    source=None, train=True, rng='a key', rngs={'dropout': 'another'}
  )
  # If only distances within a document matter, rows share positions that ignore documents.
  shared = counts and shift_invariant
  np.testing.assert_array_equal(at.pos, np.arange(4)[None, :, None] if shared else stream.pos)
  np.testing.assert_array_equal(at.order, [[0, 1, 2, 3]])
  assert at.consecutive is shared and at.segment_ids is stream.segment_ids


# Microbatches. Each row has its own weight, whose gradient shows how the row was used.


def row_gradients(monkeypatch, losses, *, accumulate):
  """Returns gradients of rows with one target, two, …, eight; `losses` depend on row weights."""
  monkeypatch.setattr(train_step, 'losses', losses)
  rows = jnp.broadcast_to(jnp.arange(8)[:, None], (8, 8))
  batch = Batch(Stream(rows), rows, jnp.arange(8) <= rows)
  return train_step.gradients(None, None, jnp.ones(8), batch, rng=KEY, accumulate=accumulate)


@pytest.mark.parametrize('accumulate', [1, 4])
def test_targets_have_equal_weight_in_all_microbatches(monkeypatch, accumulate):
  losses = lambda task, model, params, rows, *, positions, dropout: params[rows.stream.x]
  loss, gradient = row_gradients(monkeypatch, losses, accumulate=accumulate)
  np.testing.assert_allclose(loss, 1, rtol=1e-6)
  np.testing.assert_allclose(gradient, np.arange(1, 9) / 36, rtol=1e-6)


def test_each_microbatch_has_its_own_dropout_key(monkeypatch):
  def losses(task, model, params, rows, *, positions, dropout):
    return params[rows.stream.x] * jax.random.uniform(dropout)

  _, gradient = row_gradients(monkeypatch, losses, accumulate=4)
  drawn = gradient * 36 / np.arange(1, 9)
  np.testing.assert_allclose(drawn[:4], drawn[4:], rtol=1e-6)  # rows r and r + 4 share a microbatch
  assert len(np.unique(drawn[:4])) == 4


# A step.


def take_step(monkeypatch, loss, gradient, *, schedule=lambda count: 0.1 * (count + 1), **state):
  """Returns the state before and after a step with this loss and gradient, metrics and key.

  If both are finite, checks weights and moments against AdamW.
  """
  keys = []

  def gradients(task, model, params, batch, *, rng, accumulate, frozen):
    keys.append(rng)
    return jnp.float32(loss), {'w_DF': jnp.float32(gradient)}

  monkeypatch.setattr(train_step, 'gradients', gradients)
  adamw = optimizer.make_optimizer(
    schedule, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0
  )
  params = {'w_DF': jnp.float32([1, 2])}
  counts = {k: jnp.int32(n) for k, n in (dict(step=0, skipped=0, gave_up=0) | state).items()}
  before = State(params=params, opt_state=adamw.init(params), **counts)
  after, values = train_step.train_step(
    before, {}, task=None, model=None, update=adamw.update, schedule=schedule, seed=3,
    accumulate=1, max_skipped=2,
  )
  if np.isfinite([loss, *gradient]).all():
    updates, opt_state = adamw.update({'w_DF': jnp.float32(gradient)}, before.opt_state, params)
    want = jax.tree.map(jnp.add, params, updates), opt_state
    jax.tree.map(np.testing.assert_array_equal, (after.params, after.opt_state), want)
    assert not (after.params['w_DF'] == params['w_DF']).any()
  return before, after, values, keys[0]


def test_a_step_after_some_were_skipped(monkeypatch):
  """Its draws use its step number, its learning rate the number of updates so far."""
  _, after, values, key = take_step(monkeypatch, 2.0, [3.0, 4.0], step=7, skipped=2)
  want = jax.random.fold_in(jax.random.key(3), 7)
  assert (jax.random.key_data(key) == jax.random.key_data(want)).all()
  assert {name: float(value) for name, value in values.items()} == pytest.approx({
    'loss': 2, 'gradient_norm': 5, 'learning_rate': 0.6, 'skipped': 2, 'gave_up': 0,
  })
  assert (after.step, after.skipped, after.gave_up) == (8, 2, 0)


@pytest.mark.parametrize('loss, gradient', [(np.nan, [3, 4]), (2, [np.inf, 4]), (2, [np.nan, 4])])
@pytest.mark.parametrize('skipped, gave_up', [(1, 0), (2, 8)])
def test_a_non_finite_step_is_skipped(monkeypatch, loss, gradient, skipped, gave_up):
  before, after, values, _ = take_step(monkeypatch, loss, gradient, step=7, skipped=skipped)
  jax.tree.map(
    np.testing.assert_array_equal, (before.params, before.opt_state),
    (after.params, after.opt_state),
  )
  assert (after.step, after.skipped, after.gave_up) == (8, skipped + 1, gave_up)
  assert (values['skipped'], values['gave_up']) == (skipped + 1, gave_up)


def test_a_run_that_gave_up_keeps_its_first_step_of_giving_up(monkeypatch):
  _, after, _, _ = take_step(monkeypatch, np.nan, [3, 4], step=7, skipped=5, gave_up=4)
  assert after.gave_up == 4


def test_make_step_uses_the_settings_of_the_config(monkeypatch):
  """It donates the memory of the given state."""
  seen = {}

  def step(state, batch, *, update, schedule, **keywords):
    seen.update(keywords)
    return jax.tree.map(lambda x: x + 1, state), schedule(batch)

  monkeypatch.setattr(train_step, 'train_step', step)
  config, _, _ = config_lib.load('rope', [
    f'--config.{key}' for key in (
      'seed=5', 'train.accumulate=2', 'train.max_skipped=3', 'optimizer.warmup=10',
      'init.frozen=table_VD,layers/*',
    )
  ])
  state = {'w': jax.device_put(jnp.zeros(8), jax.devices()[3])}
  setup = types.SimpleNamespace(config=config, task='task', model='model', shapes=state)
  after, rate = train_step.make_step(setup)(state, 2)
  assert seen == dict(
    task='task', model='model', seed=5, accumulate=2, max_skipped=3,
    frozen=('table_VD', 'layers/*'),
  )
  assert rate == pytest.approx(6e-4)  # after two of ten steps of warm-up
  assert state['w'].is_deleted() and after['w'].devices() == {jax.devices()[3]}
