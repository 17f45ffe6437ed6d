"""One training step, pure: losses, gradients over microbatches, an update. `make_step` jits it."""

import functools

import jax
import jax.numpy as jnp
import optax

from posjax import optimizer, sharding
from posjax.encodings import At
from posjax.runtime import compile_cache
from posjax.state import State


def losses(model, params, batch, *, positions, dropout):
  """Nats of each target, [B, T]; keys for encodings that draw positions, and for dropout."""
  order_BT = jnp.arange(batch['inputs'].shape[1], dtype=jnp.int32)[None]
  # Within a document positions count tokens, as the order does, which all rows share.
  relative = model.pattern.shift_invariant
  pos_BT = order_BT if relative else batch['positions']
  at = At(pos_BT[..., None], order_BT, batch['segment_ids'], consecutive=relative)
  logits_BTV, _ = model.apply(
    {'params': params}, batch['inputs'], at, train=True, rng=positions, rngs={'dropout': dropout}
  )
  return optax.softmax_cross_entropy_with_integer_labels(logits_BTV, batch['targets'])


def gradients(model, params, batch, *, rng, accumulate, frozen=()):
  """Mean loss in nats per target and its gradient, over microbatches one after the other.

  Each draws positions and drops out by a key of its own; for positions, the first one's is that of
  a batch in one piece. Weights that the patterns `frozen` name have a gradient of 0.
  """
  positions, dropout = jax.random.split(rng)
  targets = jnp.sum(batch['segment_ids'] >= 0)

  @jax.value_and_grad
  def loss(params, rows, positions, dropout):
    weight_BT = rows['segment_ids'] >= 0
    params = optimizer.freeze(params, frozen)
    nats_BT = losses(model, params, rows, positions=positions, dropout=dropout)
    return jnp.sum(nats_BT * weight_BT) / targets

  def add(total, i_rows):
    i, rows = i_rows
    own = jnp.where(i == 0, positions, jax.random.fold_in(positions, i))
    value = loss(params, rows, own, jax.random.fold_in(dropout, i))
    return jax.tree.map(jnp.add, total, value), None

  # Row r goes to microbatch r % accumulate: rows stay on the devices they are on.
  rows = jax.tree.map(
    lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), batch
  )
  zero = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))
  total, _ = jax.lax.scan(add, zero, (jnp.arange(accumulate), rows))
  return total


def train_step(
  state, batch, *, model, update, schedule, seed, accumulate, max_skipped, frozen=()
):
  """State and batch to the next state and its metrics. Pure; the randomness is seed and step.

  A loss or gradient that is NaN or infinite changes no weight and no moment; the run stops when
  there were more than `max_skipped` of them.
  """
  rng = jax.random.fold_in(jax.random.key(seed), state.step)
  loss, grads = gradients(
    model, state.params, batch, rng=rng, accumulate=accumulate, frozen=frozen
  )
  norm = optax.tree.norm(grads)
  finite = jnp.isfinite(loss) & jnp.isfinite(norm)

  def updated():
    updates, moments = update(grads, state.moments, state.params)
    return optax.apply_updates(state.params, updates), moments

  params, moments = jax.lax.cond(finite, updated, lambda: (state.params, state.moments))
  step, skipped = state.step + 1, state.skipped + ~finite
  first_too_many = ~finite & (state.gave_up == 0) & (skipped > max_skipped)
  gave_up = jnp.where(first_too_many, step, state.gave_up)
  metrics = {
    'loss': loss,
    'gradient_norm': norm,
    'learning_rate': schedule(state.step - state.skipped),  # AdamW counts what it takes
    'skipped': skipped,
    'gave_up': gave_up,
  }
  return State(step, skipped, gave_up, params, moments), metrics


def make_step(config, model, state):
  """`train_step` of a run, jitted: the next state takes the memory and the places of `state`.

  Of that, shapes and places are enough.
  """
  shardings = jax.tree.map(lambda x: x.sharding, state)
  adamw, schedule = optimizer.from_config(config)
  step = functools.partial(
    train_step, model=model, update=adamw.update, schedule=schedule, seed=config.seed,
    accumulate=config.train.accumulate, max_skipped=config.train.max_skipped,
    frozen=optimizer.patterns(config.init.frozen),
  )
  return jax.jit(
    step, donate_argnums=0, out_shardings=(shardings, None),
    compiler_options=compile_cache.quickly(),
  )


def example(config, mesh):
  """Shapes and places of a batch."""
  shape = (config.train.batch, config.train.length)
  rows = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding.of_batch(mesh))
  return dict.fromkeys(('inputs', 'targets', 'positions', 'segment_ids'), rows)
