"""Training, in a straight line: config, data, state, then one pure step, repeated.

The step is in train_step.py.
"""

import contextlib
import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from posjax import checkpoint, evaluate, metrics, plan, run_summary, sharding, warm_start, writers
from posjax import config as config_lib
from posjax import state as state_lib
from posjax.batch import Batch
from posjax.config import keys
from posjax.data import pipeline
from posjax.errors import UserError
from posjax.metrics import Clock, Diverged
from posjax.runtime import compile_cache, devices, hosts, lock, memory, remote, signals, trace
from posjax.runtime.signals import Interrupted
from posjax.tasks import Data
from posjax.train_step import example, make_step


def run(
  config: ConfigDict, workdir: pathlib.Path | str, *, name: str, import_seconds: float,
  command: str, profile: int = 0,
) -> None:
  """Trains from the newest checkpoint, or from step 0, to the last step; then evaluates.

  Args:
    config: the resolved `ConfigDict`.
    workdir: the directory for all output.
    name: the run's name, for the report.
    import_seconds: seconds that the program spent on imports.
    command: the command line without its mode, to print the next command.
    profile: steps to trace, see posjax/runtime/trace.py.

  Raises:
    UserError: settings are incompatible (raised before compiling), or memory or disk is exhausted.
    Diverged: the loss or its gradient became NaN or infinite.
    Interrupted: a signal arrived, and the last step has been saved.
  """
  writers.check_installed(config.writers)
  clock = Clock(**{'import': import_seconds})
  setup = hosts.together(lambda: state_lib.setup(config))
  with clock('data'):
    data = hosts.together(setup.open)
    batches, fingerprint = open_batches(setup, data)
  hosts.together(lambda: warm_start.check(config.init, setup.model, setup.shapes.params))
  record = run_summary.record(config, data, setup.shapes.params)
  record |= {'name': name, 'data': fingerprint}
  scorer = evaluate.Scorer(
    setup.task, setup.model, setup.mesh, config.train.batch * config.train.length, config.seed
  )
  alike = {'the code': record['code'], 'the text': data.sha256} | keys.flatten(config)
  hosts.check_equal(alike)
  with contextlib.ExitStack() as stack:
    locks = remote if remote.is_remote(workdir) else lock
    hosts.on_first(lambda: stack.enter_context(locks.held(workdir)))
    shared = f'--workdir={workdir} must be one folder that all hosts share; its lock'
    hosts.check_equal({shared: locks.holder(workdir)})
    stack.enter_context(jax.set_mesh(setup.mesh))
    print(run_summary.banner(setup, name, data, workdir), flush=True)
    checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint.keep, create=True)
    with contextlib.closing(checkpoints):
      context = Context(setup, batches, data.validation, scorer, checkpoints, record, clock)
      hosts.on_first(lambda: context.files.fetch())
      if hosts.first():
        stack.callback(context.files.upload)  # also of a run that fails
      state = train(context, profile)
      print('evaluating', flush=True)
      with clock('evaluate'):
        result = evaluate.evaluate(scorer, state.params, data)
        evaluate.add_texts(result, config, setup.task, setup.model, state.params, data)
    hint = setup.task.hint(data, scorer.limit or math.inf, config.generate.tokens)
    if hosts.first():
      run_summary.finish(
        result, record, remote.local(workdir), name=name, step=int(state.step), command=command,
        hint=hint,
      )
  print(clock)


def open_batches(
  setup: state_lib.Setup, data: Data
) -> tuple[Iterator[Batch], dict[str, str | int]]:
  """Returns the batches and the fingerprint of their order."""
  config = setup.config
  order = dict(length=config.train.length, batch=config.train.batch, seed=config.seed)
  answers = setup.task.answers(config.train.length)
  batches = pipeline.batches(data.train, name=data.name, answers=answers, **order)
  return batches, pipeline.fingerprint(sha256=data.sha256, split=data.split, **order)


@dataclasses.dataclass(frozen=True)
class Context:
  """The objects that stay the same throughout training."""

  setup: state_lib.Setup
  batches: Iterator[Batch]
  validation: Batch
  scorer: evaluate.Scorer
  checkpoints: checkpoint.Checkpoints
  record: dict  # saved with each checkpoint: config, data, code version
  clock: Clock

  @functools.cached_property
  def files(self) -> remote.Files:
    """The run's files other than its checkpoints."""
    return remote.Files(self.checkpoints.directory.parent)


def train(context: Context, profile: int = 0) -> state_lib.State:
  """Trains from the newest checkpoint, or from step 0; returns the state after the last step."""
  setup = context.setup
  config = setup.config
  with context.clock('compile'):
    state = resume(context)
    if profile:
      trace.check(profile, config.train.steps - int(state.step if state else 0))
    print('compiling the training step', flush=True)
    step = make_step(setup).lower(setup.shapes, example(setup)).compile()
    memory.check_memory(step)
    if state is None:
      state = first_state(setup)
      if config.init.run:
        tokenizer = setup.task.tokenizer
        params = warm_start.take(config.init, tokenizer, setup.model, setup.mesh, state.params)
        state = state.replace(params=params)
      if config.init.vectors:
        params = warm_start.take_vectors(config.init, setup.task.tokenizer, state.params)
        state = state.replace(params=params)
    if profile:
      step = trace.traced(step, profile, context.files.local / 'profile')
  with context.clock('train'):
    try:
      return loop(context, state, step)
    except Diverged as error:
      raise Diverged(f'{error}; {last_good(context)}') from error


def resume(context: Context) -> state_lib.State | None:
  """Restores the newest intact checkpoint and its data position; returns its state, or None.

  Raises:
    UserError: the config or the data differ from the checkpoint's; or the run had checkpoints, and
      none is left.
  """
  checkpoints = context.checkpoints
  workdir = checkpoints.directory.parent

  def check(saved):
    state_lib.check_format(saved, workdir)
    state_lib.check_config(saved, context.setup.config, workdir)
    if differ := config_lib.difference(saved['data'], context.record['data']):
      raise UserError(
        f'{workdir}: cannot resume with other data: {config_lib.changes(differ)}; '
        f'{state_lib.way_on(workdir)}'
      )

  shapes, batches = context.setup.shapes, context.batches
  restored = checkpoints.find(
    'newest', lambda step: checkpoints.restore(step, shapes, batches, check=check)
  )
  if restored is None:
    if (workdir / checkpoint.SAVED).exists():
      raise UserError(
        f'{workdir}: all checkpoints of this run are missing; put them back, or choose another '
        '--workdir'
      )
    return None
  checkpoints.quarantine(restored.step)
  if hosts.first():
    written = restored.record.get('metrics', 0)  # older checkpoints do not record it
    metrics.check_kept(context.files.local, step=restored.step, written=written)
  print(f'resuming after step {restored.step}', flush=True)
  return restored.state


def first_state(setup: state_lib.Setup) -> state_lib.State:
  places = jax.tree.map(lambda x: x.sharding, setup.shapes)
  make = state_lib.first(setup.config, setup.model)
  return jax.jit(make, out_shardings=places, compiler_options=compile_cache.quickly())()


def last_good(context: Context) -> str:
  """Returns the advice that is printed after a run has diverged."""
  again = 'start again in another --workdir with a lower optimizer.learning_rate'
  context.checkpoints.wait()
  step, skipped = context.checkpoints.newest(), context.setup.config.train.max_skipped
  if step is None:
    return f'no checkpoint was saved before it; {again}'
  return (
    f'the last good checkpoint is step {step} in {context.checkpoints.directory}: resume from it '
    f'with --config.train.max_skipped={skipped + 10}, or {again}'
  )


def loop(context: Context, state: state_lib.State, step: Callable[..., Any]) -> state_lib.State:
  """Takes the remaining steps; after a signal, saves the current step and raises Interrupted."""
  setup, steps, first = context.setup, context.setup.config.train.steps, int(state.step) + 1
  log = open_log(context, first - 1) if hosts.first() else metrics.Checks()
  told, pending = hosts.exchange(setup.mesh), None
  with contextlib.closing(log), signals.defer_signals() as came:
    for number in range(first, steps + 1):
      state, values = step(state, sharding.shard_batch(next(context.batches), setup.mesh))
      # Fetch a step's metrics while the next step runs, so the device never waits for the host.
      if pending:
        log.write(*pending)
        pending = None
      last = number == steps
      signal = told(came[0] if came else 0)  # later signals are handled after the next step
      due = last or number % setup.config.checkpoint.every == 0
      if due or signal:
        save(context, log, state, values, number=number, due=due)
      elif number % setup.config.train.log_every == 0:
        pending = number, values
      if last:
        signal = told(came[0] if came else 0, wait=True)
      if signal:
        context.checkpoints.wait()
        raise Interrupted(signal, saved=number)
  return state


def open_log(context: Context, start: int) -> metrics.Log:
  """Opens the writers and returns the run's log, after `start` steps."""
  setup, config, workdir = context.setup, context.setup.config, context.files.local
  opened = writers.open_all(config.writers, config_lib.to_dict(config), workdir, start)
  for writer in opened:
    print(f'watch      {writer.hint}', flush=True)
  return metrics.Log(
    workdir, context.clock, start=start, steps=config.train.steps,
    tokens_per_step=config.train.batch * config.train.length,
    flops_per_step=plan.flops_per_step(config, setup.model, setup.shapes.params),
    peak=devices.peak_flops(config.model.dtype),
    writers=opened,
  )


def save(
  context: Context, log: metrics.Log | metrics.Checks, state: state_lib.State,
  values: dict[str, Any], *, number: int, due: bool,
) -> None:
  """Validates if `due`, then starts to save the state after step `number`."""
  loss = None
  if due:
    jax.block_until_ready(values)  # otherwise the clock would count steps as evaluation
    with context.clock('evaluate'):
      loss = evaluate.validate(context.scorer, state.params, context.validation)
    values['validation_loss'] = loss
  if due or number % context.setup.config.train.log_every == 0:
    log.write(number, values)
  else:
    metrics.check(number, values)
  log.sync()
  if hosts.first():
    context.files.upload()  # first, so that no checkpoint is ahead of its metrics
  record = context.record | {'metrics': log.written}
  context.checkpoints.save(number, state, context.batches, record, loss)
