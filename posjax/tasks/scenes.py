"""Scenes: images within text, and a caption that names their objects in reading order.

An image is a grid of cells. A dot is an empty cell, a capital letter an object, which stands for
one of 4 shapes in one of 5 colors; a slash ends a row, a bracket the last one. The text before,
between and after the images is random small letters. A sign at its end asks for the objects of each
image row by row, >, or column by column, _:

  a[.LB/.TH]kwo[FE./AI.]w>  LBTHFEAI
  a[.LB/.TH]kwo[FE./AI.]w_  LTBHFAEI

Objects in a text are all different. Those of an image fill a block anywhere in it, in random order.
Tests have `images` images with `block` rows and columns of objects; training has up to so many of
each. A bag of cells is at chance: if any two objects change places, the bag stays the same and the
caption changes. The guess knows the objects of each image, and names one at random of those that it
has not named yet.

Positions are those of M-RoPE (Wang et al. 2024, "Qwen2-VL", arXiv 2409.12191): time, row and column
of a cell, three equal numbers for text. Or they number all tokens, 'line'. The ends of rows are
tokens, as in Pixtral (Agrawal et al. 2024, arXiv 2410.07073), so that both models see the width of
an image; they are the last column of its grid.

Longer rows have more text in the test `scenes`, and larger images in `larger`.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.batch import Batch, Example
from posjax.errors import UserError, one_of
from posjax.tasks.core.generated import Generated, Lazy, name_of
from posjax.tasks.core.grids import Segment, mrope
from posjax.tasks.core.pairs import lay_out
from posjax.tasks.core.strings import Strings
from posjax.tasks.core.task import Data, Test

OBJECTS = np.array([*b'ABCDEFGHIJKLMNOPQRST'])
TEXT = np.arange(ord('a'), ord('z') + 1)
SIGNS = BY_ROWS, BY_COLUMNS = np.array([*b'>_'])
EMPTY, ROW, OPEN, CLOSE = b'./[]'
IMAGE = re.compile(rb'\[([^][]*)\]')
POSITIONS = 'mrope', 'line'


@dataclasses.dataclass(frozen=True)
class Scenes(Strings):
  images: int = 1  # most images of a text
  block: int = 2  # most rows, and columns, of objects in an image
  side: int = 3  # most rows, and columns, of an image in training; the least are one fewer
  positions: str = 'mrope'  # time, row and column; or 'line': 0, 1, … over all tokens
  forms = ('decoder',)  # type: ignore[assignment]
  may_differ = ('positions',)
  shown = ('token accuracy', 'by rows', 'by columns', 'exact match')

  @property
  def axes(self) -> int:  # type: ignore[override]
    return 3 if self.positions == 'mrope' else 1

  @property
  def counts(self) -> bool:  # type: ignore[override]
    return self.positions == 'line'

  @property
  def smallest(self) -> int:  # type: ignore[override]
    """The tokens of the largest images and of the sign, without text."""
    return self.images * (1 + self.side * (self.side + 1)) + 1

  def longest(self, size: int) -> tuple[int, int]:
    return size, self.images * self.block**2

  def check(self, length: int) -> None:
    if not 2 <= self.block <= math.isqrt(len(OBJECTS)):
      raise ValueError(f'block = {self.block}: must be in [2, {math.isqrt(len(OBJECTS))}]')
    most = len(OBJECTS) // self.block**2
    if not 1 <= self.images <= most:
      raise ValueError(
        f'images = {self.images}: must be in [1, {most}], for {len(OBJECTS)} different objects'
      )
    if self.side <= self.block:
      raise ValueError(f'side = {self.side}: must be at least {self.block + 1}')
    if self.positions not in POSITIONS:
      raise ValueError(f'positions = {self.positions}: {one_of(self.positions, POSITIONS)}')
    super().check(length)

  def with_larger_images(self, length: int) -> 'Scenes':
    """Returns the task with the largest images that fit into `length` tokens."""
    larger = (dataclasses.replace(self, side=side) for side in itertools.count(self.side))
    *_, last = itertools.takewhile(lambda own: own.room(own.smallest) <= length, larger)
    return last

  def guess(self, size: int) -> float:
    return float(np.mean(1 / np.arange(1, self.block**2 + 1)))

  def guess_exact(self, size: int) -> float:
    return 1 / math.factorial(self.block**2) ** self.images

  def make(
    self, rng: np.random.Generator, size: int, *, full: bool = False
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns text with images, and caption; `full`: as many images and objects as possible."""
    count = self.images if full else rng.integers(1, self.images + 1)
    objects = rng.choice(OBJECTS, size=(count, self.block, self.block), replace=False)
    shapes = rng.integers(self.block if full else 1, self.block + 1, size=(count, 2))
    blocks = [own[:rows, :columns] for own, (rows, columns) in zip(objects, shapes, strict=True)]
    images = [image(rng, block, self.side) for block in blocks]
    sign = rng.choice(SIGNS)
    text = rng.choice(TEXT, size=size - sum(map(len, images)) - 1)
    cuts = np.sort(rng.integers(len(text) + 1, size=count))
    first, *texts = np.split(text, cuts)
    parts = [part for pair in zip(images, texts, strict=True) for part in pair]
    read = [(block if sign == BY_ROWS else block.T).ravel() for block in blocks]
    return np.concatenate([first, *parts, [sign]]), np.concatenate(read)

  def example(self, rng: np.random.Generator, size: int, *, full: bool = False) -> Example:
    made = lay_out(self.form, self.tokenizer, *self.make(rng, size, full=full))
    return made._replace(pos=self.prompt_positions(made.x))

  def test_rows(self, length: int) -> Batch:
    size = self.largest(length)
    make = lambda rng: self.example(rng, size, full=True)
    return Generated(make, 'test', self.rows).rows(length, length)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    opened = super().open(corpus, length, lengths)
    own = opened.tests[name_of(self)]
    larger = {n: self.with_larger_images(n) for n in lengths}
    sides = ', '.join(str(task.side) for task in larger.values())
    tests = {
      name_of(self): own._replace(title=f'{own.title}, images as in training'),
      'larger': Test(
        f'{self.rows:,} problems with images of up to {sides} rows and columns',
        Lazy(lambda n: larger[n].test_rows(n), tuple(lengths)), own.floors,
      ),
    }
    return dataclasses.replace(opened, tests=tests)

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    found = super().metrics(outputs, batch)
    right_BT, weights_BT = found['token accuracy']
    asks = lambda sign: jnp.any(batch.stream.x == sign, axis=1, keepdims=True)
    return found | {
      'by rows': (right_BT, weights_BT & asks(BY_ROWS)),
      'by columns': (right_BT, weights_BT & asks(BY_COLUMNS)),
    }

  def prompt_positions(self, tokens: np.ndarray) -> np.ndarray | None:
    return None if self.counts else mrope(segments(tokens))[0]

  def position_after(self, pos_TP: np.ndarray) -> np.ndarray:
    """Returns where text goes on: after the largest position on any axis."""
    return np.full(self.axes, pos_TP.max() + 1)


def image(rng: np.random.Generator, block: np.ndarray, side: int) -> np.ndarray:
  """Returns the tokens of an image of `side` or one fewer rows and columns, with a block in it."""
  sizes = rng.integers(side - 1, side + 1, size=2)
  (top, left), (rows, columns) = rng.integers(sizes - block.shape + 1), block.shape
  cells = np.full(sizes + [0, 1], EMPTY)
  cells[:, -1], cells[-1, -1] = ROW, CLOSE
  cells[top : top + rows, left : left + columns] = block
  return np.append(OPEN, cells)


def segments(tokens: np.ndarray) -> list[Segment]:
  """Returns the lengths of text and the sizes of images, (1, rows, columns), in turn.

  The bracket that opens an image is text; each end of a row is a cell.

  Raises:
    UserError: an image has rows of different lengths, or a bracket is alone.
  """
  text = np.where(tokens < 256, tokens, 0).astype(np.uint8).tobytes()  # special tokens as 0
  if lone := re.search(rb'[][]', IMAGE.sub(b'', text)):
    raise UserError(f'the text has a {lone[0].decode()} without its other bracket')
  found: list[Segment] = []
  start = 0
  for match in IMAGE.finditer(text):
    rows = match[1].split(b'/')
    if len({*map(len, rows)}) > 1:
      raise UserError(f'the rows of the image {match[0].decode()} have different lengths')
    found += [match.start() + 1 - start, (1, len(rows), len(rows[0]) + 1)]
    start = match.end()
  return [*found, len(text) - start]
