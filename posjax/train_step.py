"""One pure training step: losses, gradients over microbatches, update. `make_step` jits it."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from posjax import optimizer, sharding
from posjax.batch import Batch
from posjax.encodings.core.arrays import at_least_float32
from posjax.models.transformer import Transformer, outputs_of
from posjax.runtime import compile_cache
from posjax.state import Setup, State
from posjax.tasks import Task


def losses(
  task: Task, model: Transformer, params: Any, batch: Batch, *, positions: jax.Array,
  dropout: jax.Array,
) -> jax.Array:
  """Returns the loss of each target in nats, [B, U].

  `positions` and `dropout` are random keys: for encodings that draw positions, and for dropout.
  """
  relative = task.counts and model.shift_invariant
  outputs = outputs_of(
    model, params, batch, relative=relative, train=True, rng=positions, rngs={'dropout': dropout}
  )
  return task.loss(outputs, batch)


def gradients(
  task: Task, model: Transformer, params: Any, batch: Batch, *, rng: jax.Array, accumulate: int,
  frozen: Sequence[str] = (),
) -> tuple[jax.Array, Any]:
  """Returns the mean loss in nats per target and its gradient, accumulated over microbatches.

  Each microbatch has its own keys for positions and dropout. The first positions key is the key
  of an undivided batch. Weights that match the patterns `frozen` have a gradient of 0.
  """
  positions, dropout = jax.random.split(rng)
  total_weight = jnp.sum(batch.weights)

  @jax.value_and_grad
  def loss(params, rows, positions, dropout):
    params = optimizer.freeze(params, frozen)
    nats_BU = losses(task, model, params, rows, positions=positions, dropout=dropout)
    return jnp.sum(nats_BU * rows.weights) / total_weight

  def add(total, i_rows):
    i, rows = i_rows
    own = jnp.where(i == 0, positions, jax.random.fold_in(positions, i))
    value = loss(params, rows, own, jax.random.fold_in(dropout, i))
    return jax.tree.map(jnp.add, total, value), None

  # Row r goes to microbatch r % accumulate, so that rows stay on their devices.
  rows = jax.tree.map(
    lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), batch
  )
  dtype = at_least_float32(*jax.tree.leaves(params))
  zero = jnp.zeros((), dtype), jax.tree.map(jnp.zeros_like, params)
  total, _ = jax.lax.scan(add, zero, (jnp.arange(accumulate), rows))
  return total


def train_step(
  state: State, batch: Batch, *, task: Task, model: Transformer, update: optax.TransformUpdateFn,
  schedule: optax.Schedule, seed: int, accumulate: int, max_skipped: int,
  frozen: Sequence[str] = (),
) -> tuple[State, dict[str, jax.Array]]:
  """Returns the next state and the step's metrics. Pure: random keys depend on seed and step only.

  If the loss or the gradient norm is NaN or infinite, weights and optimizer state stay as they
  are. The run stops after more than `max_skipped` such steps.
  """
  rng = jax.random.fold_in(jax.random.key(seed), state.step)
  loss, grads = gradients(
    task, model, state.params, batch, rng=rng, accumulate=accumulate, frozen=frozen
  )
  norm = optax.tree.norm(grads)
  finite = jnp.isfinite(loss) & jnp.isfinite(norm)

  def updated():
    updates, opt_state = update(grads, state.opt_state, state.params)
    return optax.apply_updates(state.params, updates), opt_state

  params, opt_state = jax.lax.cond(finite, updated, lambda: (state.params, state.opt_state))
  step, skipped = state.step + 1, state.skipped + ~finite
  first_too_many = ~finite & (state.gave_up == 0) & (skipped > max_skipped)
  gave_up = jnp.where(first_too_many, step, state.gave_up)
  metrics = {
    'loss': loss,
    'gradient_norm': norm,
    'learning_rate': schedule(state.step - state.skipped),  # AdamW does not count skipped steps
    'skipped': skipped,
    'gave_up': gave_up,
  }
  return State(step, skipped, gave_up, params, opt_state), metrics


def make_step(setup: Setup) -> jax.stages.Wrapped:
  """Returns the jitted `train_step` of a `Setup`; it donates the old state, keeps its shardings."""
  config, places = setup.config, jax.tree.map(lambda x: x.sharding, setup.shapes)
  adamw, schedule = optimizer.from_config(config)
  step = functools.partial(
    train_step, task=setup.task, model=setup.model, update=adamw.update, schedule=schedule,
    seed=config.seed, accumulate=config.train.accumulate, max_skipped=config.train.max_skipped,
    frozen=optimizer.patterns(config.init.frozen),
  )
  return jax.jit(
    step, donate_argnums=0, out_shardings=(places, None),
    compiler_options=compile_cache.quickly(),
  )


def example(setup: Setup) -> Batch:
  """Returns the shapes, dtypes and shardings of a batch."""
  train, place = setup.config.train, sharding.batch_sharding(setup.mesh)
  B, T = train.batch, train.length
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((B, *x.shape[1:]), x.dtype, sharding=place),
    setup.task.row(T),
  )
