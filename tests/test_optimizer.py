"""Schedules by their formulas, AdamW by hand, and the decayed weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax.optimizer import from_config, is_decayed, make_optimizer, make_schedule

STEPS, WARMUP, PEAK, FINAL = 1000, 100, 3e-3, 0.1
ARGUMENTS = dict(learning_rate=PEAK, warmup=WARMUP, decay=0.25, final=FINAL)


def rates(schedule):
  """Returns the learning rate of every step and of some later steps."""
  steps = np.arange(STEPS + 50)
  return steps, np.asarray(jax.vmap(make_schedule(STEPS, schedule=schedule, **ARGUMENTS))(steps))


def test_cosine_is_its_formula():
  steps, got = rates('cosine')
  progress = np.clip((steps - WARMUP) / (STEPS - WARMUP), 0, 1)
  want = PEAK * (FINAL + (1 - FINAL) * (1 + np.cos(np.pi * progress)) / 2)
  want = np.where(steps < WARMUP, PEAK * steps / WARMUP, want)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-9)
  # At the start, the end of the warm-up, half of the way down, and the end.
  np.testing.assert_allclose(got[[0, 100, 550, 1000]], [0, 3e-3, 1.65e-3, 3e-4], rtol=1e-5)


def test_wsd_is_its_formula():
  steps, got = rates('wsd')
  knots = [0, WARMUP, 750, STEPS, 2 * STEPS]
  want = np.interp(steps, knots, [0, PEAK, PEAK, PEAK * FINAL, PEAK * FINAL])
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-9)
  at = [0, 100, 750, 875, 1000]
  np.testing.assert_allclose(got[at], [0, 3e-3, 3e-3, 1.65e-3, 3e-4], rtol=1e-5)


def test_the_steps_of_a_decay_are_rounded():
  """0.29 * 100 is 28.999999999999996 in floating point, and means 29 steps."""
  arguments = ARGUMENTS | dict(decay=0.29, warmup=10, learning_rate=1.0)
  rate = make_schedule(100, schedule='wsd', **arguments)
  np.testing.assert_allclose([rate(71), rate(72)], [1, 1 - 0.9 / 29], rtol=1e-6)


PARAMS = {
  'table_VD': jnp.full((3, 2), 2.0),
  'encoding': {'learned': {'table_RD': jnp.full((4, 2), 2.0)}},
  'layers': {
    'attention': {'query_DNH': jnp.full((2, 2, 1, 2), 2.0)},
    'norm': {'scale': jnp.full((2, 2), 2.0), 'bias': jnp.full((2, 2), 2.0)},
    'gate_N': jnp.full((2, 1), 2.0),
  },
}
DECAYED = {
  'table_VD': True,
  'encoding': {'learned': {'table_RD': False}},
  'layers': {
    'attention': {'query_DNH': True}, 'norm': {'scale': False, 'bias': False}, 'gate_N': False,
  },
}


def optimizer(**change):
  return make_optimizer(
    **dict(schedule=0.5, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, clip=1.0) | change
  )


def test_only_matrices_outside_the_encoding_are_decayed():
  assert is_decayed(PARAMS) == DECAYED
  adamw = optimizer()
  updates, _ = adamw.update(jax.tree.map(jnp.zeros_like, PARAMS), adamw.init(PARAMS), PARAMS)
  # Without a gradient, the update is rate * decay * weight.
  want = jax.tree.map(lambda p, yes: jnp.full_like(p, -0.5 * 0.1 * 2.0 * yes), PARAMS, DECAYED)
  jax.tree.map(lambda u, w: np.testing.assert_allclose(u, w, rtol=1e-6), updates, want)


@pytest.mark.parametrize('clip, size', [(1.0, 1 / 5), (10.0, 1.0)])
def test_gradients_are_clipped_by_their_global_norm(clip, size):
  """With an eps that outweighs the moments, the first update is the gradient over eps."""
  params = {'a_D': jnp.zeros(1), 'b_D': jnp.zeros(1)}
  adamw = optimizer(clip=clip, eps=1e6)
  gradient = {'a_D': jnp.float32([3]), 'b_D': jnp.float32([4])}
  updates, _ = adamw.update(gradient, adamw.init(params), params)
  got = jnp.concatenate([updates['a_D'], updates['b_D']])
  np.testing.assert_allclose(got, -0.5 / 1e6 * size * np.array([3, 4]), rtol=1e-4)


def test_updates_of_a_run_are_those_of_adamw():
  """Four steps of a config by hand; all its values differ from the defaults."""
  settings = dict(
    learning_rate=0.5, warmup=2, schedule='wsd', decay=0.25, final=0.5, b1=0.8, b2=0.6, eps=0.01,
    weight_decay=0.3, clip=2.0,
  )
  overrides = [f'--config.optimizer.{key}={value}' for key, value in settings.items()]
  config, _, _ = config_lib.load('rope', ['--config.train.steps=8', *overrides])
  adamw, schedule = from_config(config)
  w = np.array([[1.0, -2.0]])
  m, v = 0, 0
  params, update = {'w_DF': jnp.asarray(w, jnp.float32)}, jax.jit(adamw.update)
  state = adamw.init(params)
  for t, g in enumerate(np.array([[[3, 4]], [[0.1, -0.2]], [[-1, 1]], [[-30, 0]]]), start=1):
    updates, state = update({'w_DF': jnp.float32(g)}, state, params)
    params = jax.tree.map(jnp.add, params, updates)
    g = g * min(1, 2.0 / np.sqrt(np.sum(g**2)))
    m, v = 0.8 * m + 0.2 * g, 0.6 * v + 0.4 * g**2
    rate = [0, 0.25, 0.5, 0.5][t - 1]
    w = w - rate * (m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.6**t)) + 0.01) + 0.3 * w)
    np.testing.assert_allclose(params['w_DF'], w, rtol=1e-5)
  np.testing.assert_allclose([schedule(t) for t in (6, 7, 8)], [0.5, 0.375, 0.25], rtol=1e-6)
