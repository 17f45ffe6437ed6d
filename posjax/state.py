"""A run's state: what it holds, how it is made or restored, and where it lies on the mesh."""

import contextlib
import dataclasses
import shlex
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from posjax import checkpoint, optimizer, sharding, transfer
from posjax import config as config_lib
from posjax.config import identity
from posjax.errors import UserError
from posjax.models import transformer


@flax.struct.dataclass
class State:
  """All that a training step changes.

  Attributes:
    step: how many steps were taken, int32 [].
    skipped: in how many of them the loss or its gradient was no number, so that they changed
      nothing else, int32 [].
    gave_up: the step in which they became more than the run allows, int32 []; 0: none.
    params: the weights.
    moments: of AdamW.
  """

  step: jax.Array
  skipped: jax.Array
  gave_up: jax.Array
  params: dict
  moments: optax.OptState


def setup(config):
  """Model and mesh, checked against each other before anything is compiled.

  Raises:
    UserError: the encoding's arguments, the mesh or the sizes do not fit.
  """
  model = transformer.from_config(config)
  check_limit(model, config.train.length, 'train.length')
  mesh = sharding.make_mesh(config.mesh)
  sharding.check(mesh, model.dims, config.train.batch // config.train.accumulate)
  return model, mesh


def check_limit(model, length, what):
  """Raises UserError if an encoding of `model` cannot represent `length` positions."""
  for name, encoding in model.pattern.by_name.items():
    if encoding.limit is not None and length > encoding.limit:
      raise UserError(
        f'{what} is {length}, and encoding.{name} represents {encoding.limit} positions; '
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
    shapes, sharding.of_state(shapes, mesh),
  )


@dataclasses.dataclass
class Saved:
  """The weights of a checkpoint, and the model they belong to.

  `read_with` says what of that model's config is not as it was trained, as `config.difference`.
  """

  model: transformer.Transformer
  mesh: jax.sharding.Mesh
  params: Any
  step: int
  record: dict
  read_with: dict = dataclasses.field(default_factory=dict)


# What may differ when weights are read, if all of them stay as they are.
READABLE = ('encoding.', 'data.', 'model.windows', 'model.chunks')


def load(config, workdir, which):
  """The weights of the checkpoint 'newest', 'best' or of a step, for the model of `config`.

  Of the newest ones, it takes the first that is whole. The encodings may be others, or have other
  arguments, than those that were trained, as long as each weight has its place.

  Raises:
    UserError: there is no such checkpoint, it is damaged, or belongs to another config.
  """
  model, mesh = setup(config)
  saved = read(workdir, which, mesh, lambda record: check_config(record, config, workdir, READABLE))
  differ = identity.difference(saved.record['config'], config)
  if differ:
    shapes = abstract(config, model, mesh).params
    source = transfer.leaves(saved.model, saved.params)
    taken = transfer.plan(source, transfer.leaves(model, shapes))
    misfits = [f'{each.leaf} is {each}' for each in taken if not each.whole]
    misfits += [f'{leaf} is {text}' for leaf, text in transfer.dropped(source, taken)]
    if misfits:
      raise UserError(
        f'{workdir}: {config_lib.changes(differ)}: {misfits[0]}; only what changes no weight can '
        f'be read otherwise than it was trained; {way_on(workdir)}'
      )
    first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), shapes)
    saved.params = transfer.fill(taken, first, saved.params)
  saved.model, saved.read_with = model, differ
  return saved


def record(workdir, which):
  """The record of a checkpoint: 'newest', 'best' or a step. Raises UserError if there is none."""
  with contextlib.closing(checkpoint.Checkpoints(workdir, 1)) as checkpoints:
    return found(workdir, checkpoints.find(which, checkpoints.record))


def found(workdir, checkpoint):
  if checkpoint is None:
    raise UserError(f'{workdir}: no checkpoint is here yet')
  return checkpoint


def read(workdir, which, mesh, check=lambda record: None):
  """The weights of a checkpoint as `Saved`, with the model that they were trained in."""
  with contextlib.closing(checkpoint.Checkpoints(workdir, 1)) as checkpoints:

    def weights(step):
      record = checkpoints.record(step)
      check(record)
      config = config_lib.from_record(record['config'])
      model = transformer.from_config(config)
      shapes = abstract(config, model, mesh).params
      return Saved(model, mesh, checkpoints.weights(step, record, shapes), step, record)

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
