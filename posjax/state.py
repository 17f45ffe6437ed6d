"""A run's state: what it holds, how it is made or restored, and where it lies on the mesh."""

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
  """All that a training step changes. `step` counts the steps that were taken."""

  step: jax.Array
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
    return State(jnp.int32(0), params, adamw.init(params))

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

  Raises:
    UserError: there is no such checkpoint, or it belongs to another config.
  """
  model, mesh = setup(config)
  checkpoints = checkpoint.Checkpoints(workdir, config.checkpoint.keep)
  step = checkpoints.find(which)
  record = checkpoints.record(step)
  check_config(record, config, checkpoints)
  state = checkpoints.restore(step, abstract(config, model, mesh))
  checkpoints.close()
  return Saved(model, mesh, state.params, step, record)


def check_config(record, config, checkpoints):
  """Raises UserError if a checkpoint's record names another config."""
  difference = config_lib.difference(record['config'], config_lib.to_dict(config))
  if difference:
    raise UserError(f'{checkpoints.directory}: made with another config: {difference}')
