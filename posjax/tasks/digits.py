"""Digits: the class of a small image, from patches of its pixels.

The images are records with the fields image, a list of pixels, and label: `package:digits` of 8 x 8
pixels, `tfds:mnist`, or your own. They are resized to the row, so that tests of longer rows show
the same images with more pixels: patches have the same size, and each covers less of the image. A
guess answers the most frequent label of training.
"""

import collections
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posjax.batch import Batch, Example, padded
from posjax.data.corpus import Documents, Record
from posjax.data.pipeline import Drawn
from posjax.tasks.core import labelled
from posjax.tasks.core.images import Images, image_of, resized
from posjax.tasks.core.task import Data


@dataclasses.dataclass(frozen=True)
class Digits(Images):
  patch: int = 2  # pixels on each side of a patch
  classes: int = 10  # different labels; the model is built before the data is opened
  white: int = 16  # the largest number of a pixel; 255 for MNIST

  @property
  def outputs(self) -> int:
    return self.classes

  def check(self, length: int) -> None:
    for name, least in (('patch', 1), ('classes', 2), ('white', 1)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least {least}')
    super().check(length)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    records = labelled.load(corpus, image=tuple, label=str)
    labels, trained = labelled.numbers(self, records), self.side(length)
    tested = labelled.spaced(records.records('test'), self.rows)

    def example(record: Record, side: int, placement: str = 'kept') -> Example:
      image = resized(image_of(record, self.white, records.name), side * self.patch)
      pos = self.places(side, trained, placement)
      return self.example(2 * image / self.white - 1, labels[record[1]], pos)

    def draw(record: Record, rng: np.random.Generator) -> Example:
      return example(record, self.draw_side(rng, trained))

    def rows(chosen: Sequence[Record], n: int, placement: str = 'kept') -> Batch:
      return padded([example(record, self.side(n), placement) for record in chosen], n, 1)

    counts = collections.Counter(label for _, label in records.records('train'))
    [(likely, _)] = counts.most_common(1)
    guess = {'accuracy': sum(label == likely for _, label in tested) / len(tested)}
    return Data(
      **labelled.identity(self, records),
      train=Drawn(Documents(records.records('train'), lambda record: (record,)), draw),
      validation=rows(labelled.spaced(records.records('validation'), self.rows), length),
      tests=self.tests(
        functools.partial(rows, tested), lengths, f'{len(tested):,} images',
        dict.fromkeys(lengths, guess),
      ),
    )
