"""The attention weights of a trained run on a held-out example of its task.

The model runs once, as in evaluation, and its encodings are watched: where attention computes all
logits in one pass, the hook `output` receives the weights of all queries and keys.
"""

import collections
import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from posjax import run_summary, state
from posjax.batch import Batch, Stream
from posjax.encodings import Encoding
from posjax.encodings.core.declarations import least
from posjax.errors import UserError
from posjax.models.block import Attention, CrossAttention
from posjax.models.transformer import Transformer, outputs_of
from posjax.tasks import Task

MOST_TOKENS = 256  # of an example, from its start


class Weights(NamedTuple):
  """The attention weights of a layer.

  Attributes:
    name: such as 'layer 1', 'encoder layer 1', 'layer 1, to the source'.
    by_head: [N, T, S]. NaN: the query does not see the key.
  """

  name: str
  by_head: np.ndarray


class Image(NamedTuple):
  """An example whose tokens fill a grid, and one query.

  Attributes:
    sizes: cells on each axis, two or three.
    token: index of each cell's token in the row, [*sizes].
    query: index of the query's token: the first token without a place, or that in the center.
    cell: the query's cell; None: it has no place.
    inputs: one number for each pixel of each cell, as an image of the grid, [rows, columns, …].
  """

  sizes: tuple[int, ...]
  token: np.ndarray
  query: int
  cell: tuple[int, ...] | None
  inputs: np.ndarray


@dataclasses.dataclass(frozen=True)
class Trained:
  """What is shown of a run.

  Attributes:
    name: of the run.
    step: of the checkpoint.
    row: index of the example among the validation rows.
    cut: whether the example may have more tokens.
    differs: how the config differs from training, one line; '': it does not.
    text: the example, if its tokens are text.
    layers: the `Weights` of each layer.
    image: None if the example's tokens do not fill a grid.
  """

  name: str
  step: int
  row: int
  cut: bool
  differs: str
  text: str
  layers: tuple[Weights, ...]
  image: Image | None

  @property
  def title(self) -> str:
    tokens = f'{"first " if self.cut else ""}{self.layers[0].by_head.shape[-1]:,} tokens'
    return f'attention weights of {self.name}, step {self.step:,}: {tokens} of row {self.row}'

  @property
  def file_name(self) -> str:
    return f'{self.name}-step-{self.step}-row-{self.row}'


def gather(
  config: ConfigDict, workdir: Path | str, *, name: str, checkpoint: str, example: int
) -> Trained:
  """Returns the attention weights of a run.

  Args:
    config: the run's config.
    workdir: its folder.
    name: its name.
    checkpoint: 'newest', 'best' or a step.
    example: which of the validation rows.

  Raises:
    UserError: there is no such checkpoint or row, or the model has no attention.
  """
  setup = state.setup(config)
  saved = state.load(setup, workdir, checkpoint)
  rows = setup.open().validation
  count = len(rows.stream.x)
  if example >= count:
    raise UserError(f'--example={example}: the task has {count} validation rows, counted from 0')
  most = longest(saved.model)
  batch = shortened(jax.tree.map(lambda x: x[example : example + 1], rows), most)
  params = jax.device_put(saved.params, jax.local_devices()[0])  # callbacks in order need one
  layers = weights_of(saved.model, params, batch, jax.random.key(config.seed))
  if not layers:
    raise UserError(f'{workdir}: model.layer = {config.model.layer} has no attention to show')
  return Trained(
    name=name, step=saved.step, row=example, layers=tuple(layers),
    cut=batch.stream.x.shape[1] == most, text=text_of(setup.task, batch),
    differs=run_summary.read_with(saved.read_with) if saved.read_with else '',
    image=None if batch.source else image_of(batch.stream),
  )


def longest(model: Transformer) -> int:
  """Returns the most tokens of which all logits can be computed in one pass."""
  encodings = [own for pattern in model.patterns for own in pattern.encodings]
  return least([MOST_TOKENS, *(own.widest_block for own in encodings)])


def shortened(batch: Batch, most: int) -> Batch:
  """Returns a row without padding at its end, and with at most `most` tokens."""

  def cut(stream):
    segments = stream.segment_ids
    length = stream.x.shape[1] if segments is None else 1 + np.flatnonzero(segments[0] >= 0)[-1]
    return jax.tree.map(lambda x: x[:, : min(length, most)], stream)

  return batch.replace(stream=cut(batch.stream), source=batch.source and cut(batch.source))


def text_of(task: Task, batch: Batch) -> str:
  """Returns the example as text; '' if its tokens are no text."""
  if batch.stream.x.ndim == 3 or type(task).decode is Task.decode:
    return ''
  return task.decode(np.asarray(batch.stream.x[0])).decode(errors='replace')


def weights_of(model: Transformer, params: Any, batch: Batch, rng: jax.Array) -> list[Weights]:
  """Returns the attention weights of each layer for a batch of one row, in one forward pass."""
  found: dict[str, list[np.ndarray]] = collections.defaultdict(list)
  inside: list[str] = []  # the sublayer whose weights come next

  def watch(call, args, named, context):
    module, method = context.module, context.method_name
    if isinstance(module, Attention | CrossAttention) and method == '__call__':
      inside[:] = [kind(module.path)]
    elif isinstance(module, Encoding) and method == 'output' and inside:
      # A chain calls this hook of its parts with the same weights: the first call counts.
      _, p_BNTS, pair = args
      p_BNTS = jnp.where(pair.mask, p_BNTS, jnp.nan)
      note = functools.partial(store, found[inside.pop()], module.normalizer)
      jax.debug.callback(note, p_BNTS, ordered=True)
    return call(*args, **named)

  with nn.intercept_methods(watch):
    jax.jit(lambda *args: outputs_of(in_one_pass(model), *args, rng=rng))(params, batch)
    jax.effects_barrier()
  return [
    Weights(name.format(i + 1), by_head)
    for name, layers in found.items() for i, by_head in enumerate(layers)
  ]


def store(layers: list[np.ndarray], normalizer: str, p_1NTS: np.ndarray) -> None:
  """Appends the weights of a layer; the hook `output` gets them before they are normalized."""
  p_NTS = np.asarray(p_1NTS[0], np.float64)
  total = np.nansum(p_NTS, axis=-1, keepdims=True) if normalizer == 'softmax' else 1
  layers.append(p_NTS / total)


def kind(path: tuple[str, ...]) -> str:
  """Returns the name of an attention sublayer, with {} for the number of its layer."""
  stack = 'encoder layer {}' if path[0] == 'encoder' else 'layer {}'
  return f'{stack}, to the source' if path[-1] == 'cross' else stack


def in_one_pass(model: Transformer) -> Transformer:
  """Returns a model whose attention computes all logits at the same time, as `watch` needs."""
  own = dict(attention=flax.core.FrozenDict(implementation='reference'), remat=False)
  return model.clone(encoder=model.encoder and model.encoder.clone(**own), **own)


def image_of(stream: Stream) -> Image | None:
  """Returns the `Image` of a row whose tokens fill a grid of two or three axes, else None."""
  at = stream.at()
  pos_TP, placed_T = np.asarray(at.pos[0]), np.asarray(at.placed[0])
  index = [np.unique(axis, return_inverse=True) for axis in pos_TP[placed_T].T]
  sizes = tuple(len(values) for values, _ in index)
  cells = np.ravel_multi_index([cell for _, cell in index], sizes)
  if len(sizes) == 1 or len(np.unique(cells)) < max(np.prod(sizes), len(cells)):
    return None
  token = np.flatnonzero(placed_T)[np.argsort(cells)].reshape(sizes)
  center = tuple(size // 2 for size in sizes)
  answer = np.flatnonzero(~placed_T)
  query, cell = (int(answer[0]), None) if len(answer) else (int(token[center]), center)
  return Image(sizes, token, query, cell, pixels(np.asarray(stream.x[0])[token]))


def pixels(x: np.ndarray) -> np.ndarray:
  """Returns cells, ids [*sizes] or vectors [*sizes, C], as an image: [rows, columns] or with RGB.

  A vector of p x p numbers, or of p x p x 3, is a patch of pixels; any other one becomes its mean.
  The slices of a first of three axes are next to each other.
  """
  sizes = x.shape if x.dtype.kind == 'i' else x.shape[:-1]
  channels = np.reshape(x, (*sizes, -1))
  colors = 3 if channels.shape[-1] % 3 == 0 and square(channels.shape[-1] // 3) else 1
  if not square(channels.shape[-1] // colors):
    channels, colors = channels.mean(axis=-1, keepdims=True), 1
  side = round((channels.shape[-1] // colors) ** 0.5)
  patches = channels.reshape(-1, *sizes[-2:], side, side, colors)
  F, R, C = patches.shape[:3]
  image = patches.transpose(1, 3, 0, 2, 4, 5).reshape(R * side, F * C * side, colors)
  return image if colors == 3 else image[..., 0]


def square(number: int) -> bool:
  return round(number**0.5) ** 2 == number
