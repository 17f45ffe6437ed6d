"""All numbers shown for one layer of a model whose positions have several axes: a grid of tokens.

The grid has equal tokens, see probe.py. A query in its center is shown, and one in the last cell
unless the layer sees both alike.
"""

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from posjax import encodings, state, tasks
from posjax.encodings.core.declarations import each
from posjax.errors import UserError
from posjax.models import build as models
from posjax.models.pattern import Layer, check_axes
from posjax.models.transformer import Transformer
from posjax.show import facts, probe
from posjax.show.frequencies import angles

# Of the grids shown where a task does not fill one, by axes.
USUAL = {2: (8, 8), 3: (3, 6, 6)}


class Query(NamedTuple):
  """One query of the grid.

  Attributes:
    cell: its index on each axis.
    by_head: the bias, logit or log weight of each cell, [N, *sizes]. NaN: not seen.
  """

  cell: tuple[int, ...]
  by_head: np.ndarray

  @property
  def relative(self) -> np.ndarray:
    """`by_head` minus the number of the query's own cell, or the mean if it does not see it."""
    own_N = self.by_head[:, *self.cell]
    axes = tuple(range(1, self.by_head.ndim))
    center_N = np.where(np.isnan(own_N), np.nanmean(self.by_head, axis=axes), own_N)
    return self.by_head - np.expand_dims(center_N, axes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid(facts.Facts):
  """The numbers of a layer on a grid.

  Attributes:
    sizes: the cells of the grid on each axis.
    queries: the `Query`s shown.
    theta: the angle per position on each axis of each plane, radians, [P, C].
    causal: whether a cell sees no later cell, in row-major order.
  """

  sizes: tuple[int, ...]
  queries: tuple[Query, ...]
  theta: np.ndarray
  causal: bool

  @property
  def of_heads(self) -> list[np.ndarray]:
    return [query.by_head for query in self.queries]


Shown = facts.Line | Grid


@dataclasses.dataclass(frozen=True)
class Cells(tasks.Task):
  """A grid of tokens for any encoding: nothing is learned."""

  sizes: tuple[int, ...] = ()
  forms = ('encoder',)

  @property
  def axes(self) -> int:  # type: ignore[override]
    return len(self.sizes)


def model_of(config: ConfigDict, sizes: tuple[int, ...]) -> tuple[Transformer, tuple[int, ...]]:
  """Returns the model of a config, and the grid on which to show it; (): a text.

  A task without a grid is replaced by one with a grid if the encodings read several axes, or
  `sizes` are given.

  Args:
    config: a resolved config.
    sizes: cells of the grid on each axis; (): those of the task, or the usual ones.

  Raises:
    UserError: an encoding cannot be on the grid.
  """
  task = tasks.build(length=config.train.length, form=config.model.form, **config.task)
  if task.axes > 1:
    _, model = state.build(config)
    return model, checked(model, sizes or within(model, of_rows(task, config.train.length)))
  if sizes:
    return on_cells(config, sizes)
  if reads_several(config.encoding.layers):
    try:
      return on_cells(config, ())
    except UserError:
      # Arguments such as the size of a table may fit texts only.
      with contextlib.suppress(UserError):
        return state.build(config)[1], ()
      raise
  return state.build(config)[1], ()


def on_cells(
  config: ConfigDict, sizes: tuple[int, ...]
) -> tuple[Transformer, tuple[int, ...]]:
  """Returns the model for a grid of tokens, by default an encoder, and the grid."""
  form = 'encoder' if config.model.form == 'auto' else config.model.form
  model = models.from_config(config, Cells(form=form, sizes=sizes or USUAL[2]))
  return model, checked(model, sizes or within(model, USUAL[2]))


def reads_several(layers: Sequence[str]) -> bool:
  """Returns whether an encoding reads any number of axes, or one of several, as in 'alibi@1'."""
  kinds = [encodings.find(encodings.unlabelled(name)) for name in encodings.sections_of(layers)]
  return any('@' in layer for layer in layers) or any(kind.axes == math.inf for kind in kinds)


def of_rows(task: tasks.Task, length: int) -> tuple[int, ...]:
  """Returns the grid that rows of `length` tokens fill, or the usual one for its axes."""
  extent = task.extent(length)
  return extent if math.prod(extent) <= length else USUAL[task.axes]


def within(model: Transformer, sizes: tuple[int, ...]) -> tuple[int, ...]:
  """Returns a grid cut to the positions that all encodings represent."""
  return tuple(map(min, sizes, each(model.limit or sizes, len(sizes))))


def checked(model: Transformer, sizes: tuple[int, ...]) -> tuple[int, ...]:
  """Returns a grid. Raises UserError, naming --grid, if an encoding cannot be on it."""
  if len(sizes) != model.axes:
    raise UserError(
      f'--grid={",".join(map(str, sizes))}: positions of this task have {model.axes} axes'
    )
  for name, encoding in model.pattern.by_name.items():
    check_axes(name, encoding, model.axes)
    if encoding.causal_only and not model.causal:
      raise UserError(f'encoding.{name}: it is causal only, and a grid is read by an encoder; '
                      '--config.model.form=decoder shows it in row-major order')
  state.check_limit(model, sizes, '--grid')
  return sizes


def gather(
  model: Transformer, layer: Layer, *, sizes: Sequence[int], seed: int, values: str = 'initial'
) -> Grid:
  """Returns the numbers of one kind of layer of a model, on a grid; see `facts.gather`."""
  encoding, weights = facts.with_weights(model, layer, seed, values)
  alike = encoding.shift_invariant and not layer.chunk
  cells = [tuple(size // 2 for size in sizes), tuple(size - 1 for size in sizes)]
  cells = cells[:1] if alike else [*dict.fromkeys(cells)]
  rows = [int(np.ravel_multi_index(cell, sizes)) for cell in cells]
  at = probe.on_grid(sizes)
  bare, full = probe.logits(encoding, weights, at, rows, layer, causal=model.causal, seed=seed)
  kind, shown, _ = facts.judged(encoding, bare, full)
  facts.check_seen(layer, shown)
  return Grid(
    sizes=tuple(sizes), causal=model.causal, kind=kind, values=values,
    queries=tuple(
      Query(cell, shown[:, i].reshape(-1, *sizes)) for i, cell in enumerate(cells)
    ),
    theta=angles(encoding, weights, math.prod(sizes)),
    **facts.of_layer(model, layer, encoding, weights, (math.prod(sizes),)),
  )
