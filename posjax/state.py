"""A run's state: its contents, its initialization or restoration, and its sharding."""

import contextlib
import dataclasses
import functools
import pathlib
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from posjax import checkpoint, optimizer, sharding, tasks, transfer
from posjax import config as config_lib
from posjax.config import identity
from posjax.data import load_tokenizer
from posjax.data.tokenizer import BYTES
from posjax.encodings.core.declarations import by_axis, represents
from posjax.errors import UserError
from posjax.models import build as models
from posjax.models import transformer
from posjax.runtime import checksum, remote


@flax.struct.dataclass
class State:
  """The arrays that a training step updates.

  Attributes:
    step: number of steps taken, int32 [].
    skipped: number of steps skipped because the loss or its gradient was not finite, int32 [].
    gave_up: the step in which `skipped` exceeded the allowed number, int32 []; 0: none.
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
  """The parts of a run that its config defines, checked before anything is compiled."""

  config: ConfigDict
  task: tasks.Task
  model: transformer.Transformer
  mesh: jax.sharding.Mesh

  @functools.cached_property
  def shapes(self) -> State:
    """The shapes, dtypes and shardings of the state."""
    return abstract(self.config, self.model, self.mesh)

  def open(self) -> tasks.Data:
    """Returns the task's `Data`. Raises UserError if it is unavailable or too small."""
    corpus = source(self.config)
    data = self.task.open(corpus, self.config.train.length, test_lengths(self.config))
    name = data.name.replace(corpus['corpus'], self.config.data.corpus)
    data = dataclasses.replace(data, name=name)
    own = self.task.tokenizer
    if own is BYTES:
      return data
    sha256 = checksum.of_json([data.sha256, own.sha256])
    return dataclasses.replace(data, name=f'{data.name}; {own}', sha256=sha256)


def test_lengths(config: ConfigDict) -> list[int]:
  """Returns the tokens of a row in each test."""
  return [round(config.train.length * multiple) for multiple in config.evaluate.multiples]


def source(config: ConfigDict) -> dict[str, Any]:
  """Returns the arguments of `data.load`: the section `data` without the tokenizer.

  A corpus in a bucket is copied first, and its copy named.
  """
  own = {key: value for key, value in config.data.items() if key != 'tokenizer'}
  return own | {'corpus': remote.fetch_corpus(own['corpus'])}


def setup(config: ConfigDict) -> Setup:
  """Returns the `Setup` of a resolved config.

  Raises:
    UserError: the task, the encoding's arguments, the mesh or the sizes are incompatible.
  """
  task, model = build(config)
  check_limit(model, task.extent(config.train.length), 'train.length')
  mesh = sharding.make_mesh(**config.mesh)
  rows = config.train.batch // config.train.accumulate
  sharding.check(mesh, model.dims, rows, config.train.length)
  return Setup(config, task, model, mesh)


def build(config: ConfigDict) -> tuple[tasks.Task, transformer.Transformer]:
  """Returns task and model of a resolved config. Raises UserError if they are incompatible."""
  task = tasks.build(
    length=config.train.length, form=config.model.form,
    tokenizer=load_tokenizer.load(config.data.tokenizer), **config.task,
  )
  return task, models.from_config(config, task)


def check_limit(model: transformer.Transformer, extent: Sequence[int], what: str) -> None:
  """Raises UserError if an encoding of `model` cannot represent `extent` positions per axis."""
  for name, limit in [pair for own in model.patterns for pair in own.limits.items()]:
    if not represents(limit, extent):
      raise UserError(
        f'{what} is {by_axis(extent)}, and encoding.{name} represents {by_axis(limit)} positions; '
        f'train it with more of them, or lower {what}'
      )


def first(config: ConfigDict, model: transformer.Transformer) -> Callable[[], State]:
  """Returns a function without arguments that returns the initial state."""
  adamw, _ = optimizer.from_config(config)

  def make():
    params = transformer.init(model, jax.random.key(config.seed))
    zero = jnp.int32(0)
    return State(zero, zero, zero, params, adamw.init(params))

  return make


def abstract(config: ConfigDict, model: transformer.Transformer, mesh: jax.sharding.Mesh) -> State:
  """Returns the shapes, dtypes and shardings with which a checkpoint's state is restored."""
  shapes = jax.eval_shape(first(config, model))
  return jax.tree.map(
    lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
    shapes, sharding.state_sharding(shapes, mesh),
  )


@dataclasses.dataclass
class Saved:
  """The weights of a checkpoint and their model.

  `read_with` holds the config keys that differ from training, as `config.difference` returns them.
  """

  model: transformer.Transformer
  params: Any
  step: int
  record: dict
  read_with: dict = dataclasses.field(default_factory=dict)


# Keys that may differ when weights are read, as long as no weight changes.
READABLE = ('encoding.', 'data.', 'model.windows', 'model.chunks', 'model.shifts')


def load(setup: Setup, workdir: pathlib.Path | str, which: str) -> Saved:
  """Loads the weights of checkpoint 'newest', 'best' or a step, for the model of a `Setup`.

  'newest' is the newest intact checkpoint. Encodings and their arguments may differ from training,
  as long as every weight still fits.

  Raises:
    UserError: the checkpoint does not exist, is corrupt, or belongs to another config.
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
        f'{workdir}: {config_lib.changes(differ)}: {misfits[0]}; only keys that change no weight '
        f'may differ from training; {way_on(workdir)}'
      )
    first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), shapes)
    saved.params = transfer.fill(taken, first, saved.params)
  saved.model, saved.read_with = setup.model, differ
  return saved


def record(workdir: pathlib.Path | str, which: str) -> dict[str, Any]:
  """Returns the record of checkpoint 'newest', 'best' or a step. Raises UserError if missing."""
  with contextlib.closing(checkpoint.Checkpoints(workdir, 1)) as checkpoints:
    record = found(workdir, checkpoints.find(which, checkpoints.record))
  check_format(record, workdir)
  return record


def found(workdir: pathlib.Path | str, checkpoint: Any) -> Any:
  if checkpoint is None:
    raise UserError(f'{workdir}: no checkpoint is here yet')
  return checkpoint


def check_format(record: dict[str, Any], workdir: pathlib.Path | str) -> None:
  """Raises UserError for a checkpoint whose format this version of posjax cannot read."""
  if record.get('format') != identity.FORMAT:
    raise UserError(
      f'{shown(workdir)}: its checkpoints were written by posjax '
      f'{record.get("code", "(unknown version)")}, in a format that this version cannot read; '
      'choose another --workdir'
    )


def read(
  workdir: pathlib.Path | str, which: str, mesh: jax.sharding.Mesh,
  check: Callable[[dict[str, Any]], None] = lambda record: None,
) -> Saved:
  """Returns the weights of a checkpoint and the model that was trained, as `Saved`."""
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


def check_config(
  record: dict[str, Any], config: ConfigDict, workdir: pathlib.Path | str,
  readable: tuple[str, ...] = (),
) -> None:
  """Raises UserError if a checkpoint's config differs in keys other than `readable`.

  The tokenizer must be the same, even where its key may differ: the path of an equal file.
  """
  own = load_tokenizer.load(config.data.tokenizer)
  if (trained := record.get('tokenizer', BYTES.sha256)) != own.sha256:
    raise UserError(
      f'{shown(workdir)}: trained with the tokenizer of SHA-256 {trained[:12]}, not '
      f'with {own}; set data.tokenizer to a copy of that file, or choose another --workdir'
    )
  differ = identity.difference(record['config'], config_lib.to_dict(config))
  if fixed := {key: pair for key, pair in differ.items() if not key.startswith(readable)}:
    raise UserError(
      f'{shown(workdir)}: trained with another config: {config_lib.changes(fixed)}; '
      f'restore these values, or {way_on(workdir)}'
    )


def way_on(workdir: pathlib.Path | str) -> str:
  """Returns advice for a run that cannot resume in its work directory."""
  return (
    'choose another --workdir, where --config.init.run='
    f'{shlex.quote(shown(workdir))} starts from these weights'
  )


def shown(workdir: pathlib.Path | str) -> str:
  """Returns a work directory as a user would type it here."""
  return str(workdir if remote.is_remote(workdir) else config_lib.nearby(workdir))
