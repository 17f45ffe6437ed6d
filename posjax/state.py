"""A run's state: what it holds, how it is made or restored, and where it lies on the mesh."""

import contextlib
import dataclasses
import functools
import shlex
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from posjax import checkpoint, optimizer, sharding, tasks, transfer
from posjax import config as config_lib
from posjax.config import identity
from posjax.errors import UserError
from posjax.models import transformer


@flax.struct.dataclass
class State:
  """All that a training step changes.

  Attributes:
    step: how many steps were taken, int32 [].
    skipped: in how many of them the loss or its gradient was not finite, so that they changed
      nothing else, int32 [].
    gave_up: the step in which they became more than the run allows, int32 []; 0: none.
    params: the weights.
    opt_state: the moments of AdamW.
  """

  step: jax.Array
  skipped: jax.Array
  gave_up: jax.Array
  params: dict
  opt_state: optax.OptState


@dataclasses.dataclass(frozen=True)
class Setup:
  """What a config says, checked before anything is compiled."""

  config: ConfigDict
  task: tasks.Task
  model: transformer.Transformer
  mesh: jax.sharding.Mesh

  @functools.cached_property
  def shapes(self):
    """Shapes, dtypes and shardings of the state."""
    return abstract(self.config, self.model, self.mesh)

  def open(self):
    """The task's `Data`. Raises UserError if they cannot be had, or are too few."""
    length, multiples = self.config.train.length, self.config.evaluate.multiples
    return self.task.open(self.config.data, length, [length * n for n in multiples])


def setup(config):
  """The `Setup` of a resolved config.

  Raises:
    UserError: the task, the encoding's arguments, the mesh or the sizes do not fit.
  """
  task, model = build(config)
  check_limit(model, task.extent(config.train.length), 'train.length')
  mesh = sharding.make_mesh(**config.mesh)
  sharding.check(mesh, model.dims, config.train.batch // config.train.accumulate)
  return Setup(config, task, model, mesh)


def build(config):
  """Task and model of a resolved config. Raises UserError if they do not fit."""
  task = tasks.build(length=config.train.length, **config.task)
  return task, transformer.from_config(config, task)


def check_limit(model, extent, what):
  """Raises UserError if an encoding of `model` cannot represent so many positions on each axis."""
  for name, encoding in model.pattern.by_name.items():
    if encoding.limit is not None and max(extent) > encoding.limit:
      raise UserError(
        f'{what} is {max(extent)}, and encoding.{name} represents {encoding.limit} positions; '
        f'train it with more of them, or lower {what}'
      )


def first(config, model):
  """A function without arguments that makes the state before the first step."""
  adamw, _ = optimizer.from_config(config)

  def make():
    params = transformer.init(model, jax.random.key(config.seed))
    zero = jnp.int32(0)
    return State(zero, zero, zero, params, adamw.init(params))

  return make


def abstract(config, model, mesh):
  """Shapes, dtypes and shardings of the state: what a checkpoint is restored into."""
  shapes = jax.eval_shape(first(config, model))
  return jax.tree.map(
    lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
    shapes, sharding.state_sharding(shapes, mesh),
  )


@dataclasses.dataclass
class Saved:
  """The weights of a checkpoint, and the model they belong to.

  `read_with` says what of that model's config is not as it was trained, as `config.difference`.
  """

  model: transformer.Transformer
  params: Any
  step: int
  record: dict
  read_with: dict = dataclasses.field(default_factory=dict)


# What may differ when weights are read, if all of them stay as they are.
READABLE = ('encoding.', 'data.', 'model.windows', 'model.chunks')


def load(setup, workdir, which):
  """The weights of the checkpoint 'newest', 'best' or of a step, for the model of a `Setup`.

  Of the newest ones, it takes the first that is whole. The encodings may be others, or have other
  arguments, than those that were trained, as long as each weight has its place.

  Raises:
    UserError: there is no such checkpoint, it is damaged, or belongs to another config.
  """
  config = setup.config
  check = lambda record: check_config(record, config, workdir, READABLE)
  saved = read(workdir, which, setup.mesh, check)
  differ = identity.difference(saved.record['config'], config)
  if differ:
    shapes = setup.shapes.params
    source = transfer.leaves(saved.model, saved.params)
    taken = transfer.plan(source, transfer.leaves(setup.model, shapes))
    misfits = [f'{each.leaf} is {each}' for each in taken if not each.complete]
    misfits += [f'{leaf} is {text}' for leaf, text in transfer.dropped(source, taken)]
    if misfits:
      raise UserError(
        f'{workdir}: {config_lib.changes(differ)}: {misfits[0]}; only what changes no weight can '
        f'be read otherwise than it was trained; {way_on(workdir)}'
      )
    first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), shapes)
    saved.params = transfer.fill(taken, first, saved.params)
  saved.model, saved.read_with = setup.model, differ
  return saved


def record(workdir, which):
  """The record of a checkpoint: 'newest', 'best' or a step. Raises UserError if there is none."""
  with contextlib.closing(checkpoint.Checkpoints(workdir, 1)) as checkpoints:
    record = found(workdir, checkpoints.find(which, checkpoints.record))
  check_format(record, workdir)
  return record


def found(workdir, checkpoint):
  if checkpoint is None:
    raise UserError(f'{workdir}: no checkpoint is here yet')
  return checkpoint


def check_format(record, workdir):
  """Raises UserError for a checkpoint of another version of posjax, which this one cannot read."""
  if record.get('format') != identity.FORMAT:
    raise UserError(
      f'{config_lib.nearby(workdir)}: its checkpoints were written by posjax '
      f'{record.get("code", "of before")}, and this version reads others; choose another --workdir'
    )


def read(workdir, which, mesh, check=lambda record: None):
  """The weights of a checkpoint as `Saved`, with the model that they were trained in."""
  with contextlib.closing(checkpoint.Checkpoints(workdir, 1)) as checkpoints:

    def weights(step):
      record = checkpoints.record(step)
      check_format(record, workdir)
      check(record)
      config = config_lib.from_record(record['config'])
      _, model = build(config)
      shapes = abstract(config, model, mesh).params
      return Saved(model, checkpoints.weights(step, record, shapes), step, record)

    return found(workdir, checkpoints.find(which, weights))


def check_config(record, config, workdir, readable=()):
  """Raises UserError if a checkpoint is of a config that differs in other keys than `readable`."""
  differ = identity.difference(record['config'], config_lib.to_dict(config))
  if fixed := {key: pair for key, pair in differ.items() if not key.startswith(readable)}:
    raise UserError(
      f'{config_lib.nearby(workdir)}: made with another config: {config_lib.changes(fixed)}; set '
      f'that back, or {way_on(workdir)}'
    )


def way_on(workdir):
  """What to do where a run cannot go on in its own folder."""
  return (
    'choose another --workdir, where --config.init.run='
    f'{shlex.quote(str(config_lib.nearby(workdir)))} starts from these weights'
  )
