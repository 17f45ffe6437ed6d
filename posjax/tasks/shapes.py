"""Shapes: on which side of a cross is the plus? Only places tell.

A generated image of cells of 3 x 3 pixels has one plus and one cross, in different rows and
columns, and distractors in a share of all other cells. The four classes are the directions from the
cross to the plus: above left, above right, below left, below right. The cells of an image are the
same for each class: a model that sees a bag of patches answers one image in four.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.generated import Generated, identity
from posjax.tasks.core.images import Images
from posjax.tasks.core.task import Data

PATCH = 3
# Each has five pixels, so that the mean of a patch does not tell which it is.
PLUS, CROSS, *DISTRACTORS = (
  np.array([[pixel == '#' for pixel in row] for row in mark.split('/')], np.float64)
  for mark in ('.#./###/.#.', '#.#/.#./#.#', '###/#../#..', '..#/..#/###')
)


@dataclasses.dataclass(frozen=True)
class Shapes(Images):
  clutter: float = 0.25  # share of the other cells with a distractor
  patch = PATCH
  outputs = 4
  smallest = 2

  def check(self, length: int) -> None:
    if not 0 <= self.clutter <= 1:
      raise ValueError(f'clutter = {self.clutter}: must be in [0, 1]')
    super().check(length)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    trained = self.side(length)

    def train(rng: np.random.Generator) -> Example:
      return self.make(rng, self.draw_side(rng, trained), trained)

    def held_out(split: str, n: int, placement: str) -> Batch:
      make = functools.partial(
        self.make, side=self.side(n), trained=trained, placement=placement
      )
      return Generated(make, split, self.rows).rows(n, 1)

    return Data(
      **identity(self), train=Generated(train, 'train'),
      validation=held_out('validation', length, 'kept'),
      tests=self.tests(
        functools.partial(held_out, 'test'), lengths, f'{self.rows:,} images',
        dict.fromkeys(lengths, {'accuracy': 1 / self.outputs}),
      ),
    )

  def make(
    self, rng: np.random.Generator, side: int, trained: int, placement: str = 'kept'
  ) -> Example:
    """Returns an image of `side` x `side` cells and its class."""
    image, kind = draw(rng, side, self.clutter)
    return self.example(2 * image - 1, kind, self.places(side, trained, placement))


def draw(rng: np.random.Generator, side: int, clutter: float) -> tuple[np.ndarray, int]:
  """Returns an image [S, S] of 0 and 1, and its class, 2 below + right.

  The cells of two rows and two columns are drawn; the class says which of the four have the marks.
  """
  kind = int(rng.integers(4))
  below, right = divmod(kind, 2)
  rows, columns = (np.sort(rng.choice(side, size=2, replace=False)) for _ in range(2))
  chosen = rng.integers(len(DISTRACTORS), size=(side, side))
  cells = np.stack(DISTRACTORS)[chosen] * (rng.random((side, side)) < clutter)[..., None, None]
  cells[rows[below], columns[right]] = PLUS
  cells[rows[1 - below], columns[1 - right]] = CROSS
  return cells.swapaxes(1, 2).reshape(side * PATCH, side * PATCH), kind
