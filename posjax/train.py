"""Training, as a straight line: config, data, state, then one pure step again and again."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from posjax import checkpoint, data, evaluate, optimizer, report, sharding
from posjax import state as state_lib
from posjax.config import UserError
from posjax.encodings import At
from posjax.metrics import Clock, Log
from posjax.state import State


def losses(model, params, batch, *, positions, dropout):
  """Nats of each target, [B, T]; keys for encodings that draw positions, and for dropout."""
  T = batch['inputs'].shape[1]
  at = At(
    pos=batch['positions'][..., None],
    order=jnp.arange(T, dtype=jnp.int32)[None],
    segment_ids=batch['segment_ids'],
  )
  logits_BTV, _ = model.apply(
    {'params': params}, batch['inputs'], at, train=True, rng=positions, rngs={'dropout': dropout}
  )
  return optax.softmax_cross_entropy_with_integer_labels(logits_BTV, batch['targets'])


def gradients(model, params, batch, *, rng, accumulate):
  """Mean loss in nats per target and its gradient, over microbatches one after the other.

  They share a draw of positions, as the rows of a batch do; each drops out its own.
  """
  positions, dropout = jax.random.split(rng)
  targets = jnp.sum(batch['segment_ids'] >= 0)

  @jax.value_and_grad
  def loss(params, rows, dropout):
    weight_BT = rows['segment_ids'] >= 0
    nats_BT = losses(model, params, rows, positions=positions, dropout=dropout)
    return jnp.sum(nats_BT * weight_BT) / targets

  def add(total, i_rows):
    i, rows = i_rows
    return jax.tree.map(jnp.add, total, loss(params, rows, jax.random.fold_in(dropout, i))), None

  # Row r goes to microbatch r % accumulate: rows stay on the devices they are on.
  rows = jax.tree.map(
    lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), batch
  )
  zero = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))
  total, _ = jax.lax.scan(add, zero, (jnp.arange(accumulate), rows))
  return total


def train_step(state, batch, *, model, update, schedule, seed, accumulate):
  """State and batch to the next state and its metrics. Pure; the randomness is seed and step."""
  rng = jax.random.fold_in(jax.random.key(seed), state.step)
  loss, grads = gradients(model, state.params, batch, rng=rng, accumulate=accumulate)
  updates, moments = update(grads, state.moments, state.params)
  params = optax.apply_updates(state.params, updates)
  metrics = {
    'loss': loss,
    'gradient_norm': optax.tree.norm(grads),
    'learning_rate': schedule(state.step),
  }
  return State(state.step + 1, params, moments), metrics


def make_step(config, model, state):
  """`train_step` of a run, jitted: the next state takes the memory and the places of `state`."""
  shardings = jax.tree.map(lambda x: x.sharding, state)
  adamw, schedule = optimizer.from_config(config)
  step = functools.partial(
    train_step, model=model, update=adamw.update, schedule=schedule, seed=config.seed,
    accumulate=config.train.accumulate,
  )
  return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))


def run(config, workdir, *, name, import_seconds, command):
  """Trains from the newest checkpoint, or from the start, to the end; then evaluates.

  Args:
    config: the resolved `ConfigDict`.
    workdir: where everything is written.
    name: of config and size, for the report.
    import_seconds: that the program spent on imports.
    command: the command line without its mode, to print what can be run next.

  Raises:
    UserError: something does not fit; said before anything is compiled.
    Diverged: the loss is no longer a number.
  """
  clock = Clock(**{'import': import_seconds})
  model, mesh = state_lib.setup(config)
  with clock('data'):
    corpus = data.load(**config.data)
    order = dict(
      length=config.train.length, batch=config.train.batch // jax.process_count(),
      seed=config.seed, shard=(jax.process_index(), jax.process_count()),
    )
    batches = data.batches(corpus, **order)
    held_out = evaluate.hold_out(config, corpus)
  abstract = state_lib.abstract(config, model, mesh)
  print(report.banner(config, name, model, mesh, abstract.params, corpus, workdir), flush=True)
  record = report.record(config, corpus, abstract.params)
  record['data'] = data.fingerprint(corpus, **order)
  scorer = evaluate.Scorer(
    model, mesh, config.train.batch * config.train.length, config.seed
  )
  checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint.keep, create=True)
  with contextlib.closing(checkpoints), jax.set_mesh(mesh):
    context = Context(config, mesh, batches, held_out, scorer, checkpoints, record, clock)
    with clock('compile'):
      state = resume(context, abstract) or first_state(config, model, abstract)
      step = make_step(config, model, state).lower(state, example(config, mesh)).compile()
    with clock('train'):
      state = loop(context, state, step)
    with clock('evaluate'):
      result = evaluate.evaluate(scorer, state.params, held_out, model.pattern.limit)
  report.finish(result, record, workdir, name=name, step=int(state.step), command=command)
  print(clock)


@dataclasses.dataclass(frozen=True)
class Context:
  """What stays the same while a run trains."""

  config: ConfigDict
  mesh: jax.sharding.Mesh
  batches: Iterator
  held_out: evaluate.HeldOut
  scorer: evaluate.Scorer
  checkpoints: checkpoint.Checkpoints
  record: dict  # goes with each checkpoint: what it belongs to
  clock: Clock


def resume(context, abstract):
  """The newest checkpoint's state, with the batches moved to where it was saved, or None.

  Raises:
    UserError: the config or the data are not those that the checkpoint was made with.
  """
  newest = context.checkpoints.newest()
  if newest is None:
    return None
  saved = context.checkpoints.record(newest)
  state_lib.check_config(saved, context.config, context.checkpoints)
  if saved['data'] != context.record['data']:
    raise UserError(
      f'{context.checkpoints.directory}: made from other text, in another order, or with another '
      f'version of Grain or NumPy: {saved["corpus"]} then, {context.record["corpus"]} now; choose '
      'another --workdir'
    )
  print(f'resuming after step {newest}', flush=True)
  return context.checkpoints.restore(newest, abstract, context.batches)


def first_state(config, model, abstract):
  shardings = jax.tree.map(lambda x: x.sharding, abstract)
  return jax.jit(state_lib.first(config, model), out_shardings=shardings)()


def example(config, mesh):
  """Shapes and places of a batch."""
  shape = (config.train.batch, config.train.length)
  rows = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding.of_batch(mesh))
  return dict.fromkeys(('inputs', 'targets', 'positions', 'segment_ids'), rows)


def loop(context, state, step):
  """Takes the steps that are left; validates and saves every `checkpoint.every` and at the end."""
  config, first = context.config, int(state.step) + 1
  log = Log(
    context.checkpoints.directory.parent, context.clock, start=first - 1, steps=config.train.steps,
    tokens_per_step=config.train.batch * config.train.length,
  )
  pending = None
  with contextlib.closing(log):
    for number in range(first, config.train.steps + 1):
      state, metrics = step(state, sharding.place(next(context.batches), context.mesh))
      # A step's metrics are fetched while the next one runs: the device never waits for the host.
      if pending:
        log.write(*pending)
        pending = None
      if number % config.checkpoint.every == 0 or number == config.train.steps:
        jax.block_until_ready(metrics)  # else the clock would count steps as evaluation
        with context.clock('evaluate'):
          loss = evaluate.validate(context.scorer, state.params, context.held_out)
          metrics['validation_loss'] = loss
        log.write(number, metrics)
        context.checkpoints.save(number, state, context.batches, context.record, loss)
      elif number % config.train.log_every == 0:
        pending = number, metrics
  return state
