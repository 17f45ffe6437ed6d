"""Tasks on square images: each token is a cell of the image, and its position is the cell's place.

A row of n tokens holds an image of the largest side that fits, isqrt(n) cells: four times the
length is twice the side. A test image may be larger than those of training, whose side is N; its
cells i = 0, 1, … of each axis are placed in three ways, each a test of the same weights:

  kept      i                      the last cells are beyond all trained positions
  centered  i - (n - N) / 2        about the middle of the trained positions
  scaled    i N / n                within the trained positions, as fractions

Vision Transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) classify an image by a class token,
which has no place, or by the mean over its patches. Images of different sides may share a row
(NaViT, Dehghani et al. 2023, arXiv 2307.06304).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch, Example
from posjax.data.corpus import Record
from posjax.encodings.core.tokens import NOWHERE
from posjax.encodings.parts.resize import taps
from posjax.errors import UserError, one_of
from posjax.tasks.core import grids
from posjax.tasks.core.generated import name_of
from posjax.tasks.core.task import Task, Test, pool

# Positions [T, P] of an image of some sizes, given the sizes of the images of training.
PLACEMENTS: Mapping[str, Callable[[Sequence[int], Sequence[int]], np.ndarray]] = {
  'kept': lambda sizes, trained: grids.grid(*sizes),
  'centered': lambda sizes, trained: grids.grid(*sizes) - np.subtract(sizes, trained) // 2,
  'scaled': grids.scaled,
}
CHOICES = {
  'positions': ('grid', 'line'), 'placements': tuple(PLACEMENTS), 'pooling': ('mean', 'class'),
}


@dataclasses.dataclass(frozen=True)
class OnGrid(Task):
  """A task whose tokens are the cells of a square grid, row by row."""

  positions: str = 'grid'  # 'grid': (row, column); 'line': the index in reading order
  placements: tuple[str, ...] = ('kept', 'centered', 'scaled')  # of larger test images
  rows: int = 512  # images of a test at each length, and of validation
  counts = False
  evaluation: ClassVar[tuple[str, ...]] = ('placements', 'rows')
  smallest: ClassVar[int] = 1  # cells on each side of an image
  may_differ = ('positions',)

  @property
  def axes(self) -> int:  # type: ignore[override]
    return len(self.sizes(1))

  @property
  def pos_dtype(self) -> str:
    # Scaled places are fractions and centered ones may be negative: no rows of a table.
    return 'int32' if self.placements == ('kept',) else 'float32'

  @property
  def apart(self) -> int:
    """The number of tokens of an image that are no cells."""
    return 0

  def side(self, length: int) -> int:
    """Returns the cells on each side of the largest image in a row of `length` tokens."""
    return math.isqrt(length - self.apart)

  def sizes(self, side: int) -> tuple[int, ...]:
    """Returns the number of positions on each axis of an image with `side` cells on each side."""
    return (side, side) if self.positions == 'grid' else (side * side,)

  def extent(self, length: int) -> tuple[int, ...]:
    return self.sizes(self.side(length))

  def places(self, side: int, trained: int, placement: str = 'kept') -> np.ndarray:
    """Returns the positions [T, P] of cells, given the side of the images of training."""
    found = PLACEMENTS[placement](self.sizes(side), self.sizes(trained))
    return found.astype(self.pos_dtype)

  def tokens(self, side: int) -> int:
    """Returns the number of tokens of an image with `side` cells on each side."""
    return self.apart + side**2

  def check(self, length: int) -> None:
    for name, choices in CHOICES.items():
      own = getattr(self, name, ())
      for value in (own,) if isinstance(own, str) else own:
        if value not in choices:
          raise ValueError(f'{name} = {value}: {one_of(value, choices)}')
    if not self.placements:
      raise ValueError(f'placements is empty: name one of {", ".join(PLACEMENTS)}, or several')
    if self.rows < 1:
      raise ValueError(f'rows = {self.rows}: must be positive')
    if length < (tokens := self.tokens(self.smallest)):
      raise ValueError(
        f'train.length = {length}: must be at least {tokens}, an image of {self.smallest} x '
        f'{self.smallest} cells'
      )
    if self.tokenizer.name != 'bytes':
      raise ValueError(
        f'data.tokenizer = {self.tokenizer.name}: {name_of(self)} has no text; leave it at bytes'
      )

  def tests(
    self, make: Callable[[int, str], Batch], lengths: Sequence[int], images: str,
    floors: Mapping[int, Mapping[str, float]],
  ) -> dict[str, Test]:
    """Returns a test for each placement, with the rows make(length, placement).

    Args:
      make: returns the rows of a test.
      lengths: tokens of a row in each test.
      images: what the images are, for titles.
      floors: of each length.
    """
    sides = ', '.join(f'{self.side(n)} x {self.side(n)}' for n in lengths)
    return {
      placement: Test(
        f'{placement}: {images} of {sides} cells',
        {n: make(n, placement) for n in lengths}, floors,
      ) for placement in self.placements
    }


@dataclasses.dataclass(frozen=True)
class Images(OnGrid):
  """A task with a class for each image. A token is a vector, the pixels of a patch."""

  pooling: str = 'mean'  # the class is read from the mean over patches, or from a 'class' token
  least: int = 0  # cells on each side of the smallest training images; 0: all are the largest
  forms = ('encoder',)
  vocabulary = 0
  best = 'nats/image'
  shown = ('accuracy',)

  @property
  def patch(self) -> int:
    """The pixels on each side of a patch."""
    raise NotImplementedError

  @property
  def apart(self) -> int:
    return int(self.pooling == 'class')

  @property
  def vectors(self) -> int:  # type: ignore[override]
    """The pixels of a patch, and the mark of the class token."""
    return self.patch**2 + self.apart

  def answers(self, length: int) -> int:
    return length // self.tokens(self.least or self.side(length))

  def check(self, length: int) -> None:
    super().check(length)
    if self.apart and self.positions == 'line':
      raise ValueError('pooling = class: needs positions = grid; in a line, each token has a place')
    if self.least and not self.smallest <= self.least <= self.side(length):
      raise ValueError(
        f'least = {self.least}: must be in [{self.smallest}, {self.side(length)}], as an image of '
        f'train.length = {length} has {self.side(length)} x {self.side(length)} cells; or 0'
      )

  def draw_side(self, rng: np.random.Generator, side: int) -> int:
    """Returns the side of a training image, given the largest."""
    return int(rng.integers(self.least, side + 1)) if self.least else side

  def example(self, image: np.ndarray, label: int, pos: np.ndarray) -> Example:
    """Returns an image [S, S] with values from -1 to 1, its class and the places of its patches.

    The vector of a class token is 1 in a channel that is 0 in all patches: its embedding is a
    weight of its own.
    """
    cells_TC = patches(image, self.patch).astype(np.float32)
    x_TC = np.pad(cells_TC, [(self.apart, 0), (0, self.apart)])
    x_TC[: self.apart, -1] = 1
    pos_TP = np.pad(pos, [(self.apart, 0), (0, 0)], constant_values=NOWHERE)
    return Example(x_TC, np.array([label], np.int32), np.ones(1, bool), pos_TP)

  def pooled(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    """Returns the logits of the classes for each image, [B, U, classes]."""
    read_BT: Any = batch.stream.segment_ids
    if self.apart:
      read_BT = jnp.where(batch.stream.at().placed, -1, read_BT)
    return pool(outputs, read_BT, batch.targets.shape[1])

  def loss(self, outputs: jax.Array, batch: Batch) -> jax.Array:
    return super().loss(self.pooled(outputs, batch), batch)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    right_BU = jnp.argmax(self.pooled(outputs, batch), axis=-1) == batch.targets
    values = {'accuracy': right_BU, 'nats/image': self.loss(outputs, batch)}
    return {name: (value, batch.weights) for name, value in values.items()}


def patches(image: np.ndarray, size: int) -> np.ndarray:
  """Returns the patches of an image [S, S], and the pixels of each, row by row: [T, size**2]."""
  side = len(image) // size
  blocks = image.reshape(side, size, side, size).swapaxes(1, 2)
  return blocks.reshape(side * side, size * size)


def resized(image: np.ndarray, side: int) -> np.ndarray:
  """Returns an image [S, S] with `side` pixels on each side: bilinear, with antialiasing."""
  weights = taps(len(image), side, 'linear', antialias=True, corners=False)
  return weights @ image @ weights.T


def image_of(record: Record, white: int, place: str) -> np.ndarray:
  """Returns the image of a record of pixels and a label, [S, S], float64.

  Args:
    record: the numbers of the pixels, row by row, and a label.
    white: the largest number of a pixel.
    place: the name of the records, for messages.

  Raises:
    UserError: the image is not square, or a number is not in [0, white].
  """
  values = np.array(record[0], np.float64)
  side = math.isqrt(len(values))
  if side**2 != len(values):
    raise UserError(f'{place}: an image has {len(values)} pixels; it must be square')
  if values.min() < 0 or values.max() > white:
    raise UserError(
      f'{place}: an image has pixels from {values.min():g} to {values.max():g}; they must be in '
      f'[0, {white}], where {white} is the argument `white` of the task'
    )
  return values.reshape(side, side)
