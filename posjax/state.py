"""A run's state: what it holds, how it is made or restored, and where it lies on the mesh."""

import contextlib
import dataclasses
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from posjax import checkpoint, optimizer, sharding, transformer
from posjax import config as config_lib
from posjax.config import UserError


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
  """A checkpoint that was read, and the model it belongs to."""

  model: transformer.Transformer
  mesh: jax.sharding.Mesh
  params: Any
  step: int
  record: dict


def load(config, workdir, which):
  """Reads the checkpoint 'newest', 'best' or of a step from `workdir`.

  Of the newest ones, it takes the first that is whole.

  Raises:
    UserError: there is no such checkpoint, it is damaged, or belongs to another config.
  """
  model, mesh = setup(config)
  target = abstract(config, model, mesh)
  with contextlib.closing(checkpoint.Checkpoints(workdir, config.checkpoint.keep)) as checkpoints:
    check = lambda record: check_config(record, config, checkpoints)
    if which == 'newest':
      restored = checkpoints.restore_newest(target, check=check)
    else:
      restored = checkpoints.restore_one(which, target, check=check)
  if restored is None:
    raise UserError(f'{checkpoints.directory}: no checkpoint is here yet')
  return Saved(model, mesh, restored.state.params, restored.step, restored.record)


def check_config(record, config, checkpoints):
  """Raises UserError if a checkpoint's record names another config."""
  difference = config_lib.difference(record['config'], config_lib.to_dict(config))
  if difference:
    raise UserError(
      f'{checkpoints.directory}: made with another config: {difference}; set that back, or choose '
      'another --workdir'
    )
