"""Pixels: a small image as a text of pixels, each predicted from all pixels before it.

The images are those of `digits`. A token is the number of a pixel, in reading order after a first
token, which may name the label. The position of a token is the place of the pixel that it predicts:
in iGPT (Chen et al. 2020, ICML), too, the first token has the first position.

A guess knows how often each pixel has each number in the images of training, and nothing else.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from posjax.batch import Batch, Example, padded
from posjax.data.corpus import Record
from posjax.tasks.core import labelled
from posjax.tasks.core.images import OnGrid, image_of, resized
from posjax.tasks.core.task import Data


@dataclasses.dataclass(frozen=True)
class Pixels(OnGrid):
  white: int = 16  # the largest number of a pixel; 255 for MNIST
  classes: int = 0  # different labels, one of which is the first token; 0: it names none
  best = 'bits/pixel'
  shown = ('bits/pixel',)
  unit = 'pixel'

  @property
  def vocabulary(self) -> int:
    return self.outputs + max(1, self.classes)

  @property
  def outputs(self) -> int:
    return self.white + 1

  def check(self, length: int) -> None:
    for name, least in (('white', 1), ('classes', 0)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least {least}')
    super().check(length)

  def open(self, corpus: Mapping[str, Any], length: int, lengths: Sequence[int]) -> Data:
    records = labelled.load(corpus, image=tuple, label=str)
    labels = labelled.numbers(self, records) if self.classes else {}
    tested = labelled.spaced(records.records('test'), self.rows)
    trained = self.side(length)

    def example(record: Record, side: int, placement: str = 'kept') -> Example:
      image = resized(image_of(record, self.white, records.name), side)
      targets = np.rint(image).astype(np.int32).reshape(-1)
      x = np.append(self.outputs + labels.get(record[1], 0), targets[:-1]).astype(np.int32)
      return Example(x, targets, np.ones(len(x), bool), self.places(side, trained, placement))

    def rows(chosen: Sequence[Record], n: int, placement: str = 'kept') -> Batch:
      return padded([example(record, self.side(n), placement) for record in chosen], n, n)

    def guess(n: int) -> dict[str, float]:
      numbers = lambda own: np.stack([example(record, self.side(n)).targets for record in own])
      return {'bits/pixel': bits(numbers(records.records('train')), numbers(tested), self.outputs)}

    return Data(
      **labelled.identity(self, records),
      train=labelled.training(records.records('train'), lambda record: example(record, trained)),
      validation=rows(labelled.spaced(records.records('validation'), self.rows), length),
      tests=self.tests(
        functools.partial(rows, tested), lengths, f'{len(tested):,} images',
        {n: guess(n) for n in lengths},
      ),
    )

  def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, tuple[jax.Array, jax.Array]]:
    return {'bits/pixel': (self.loss(outputs, batch) / math.log(2), batch.weights)}


def bits(train_BT: np.ndarray, test_BT: np.ndarray, numbers: int) -> float:
  """Returns the mean bits of test pixels, given the frequencies of numbers in training.

  Each pixel has frequencies of its own, in which every number has been seen once more.
  """
  counts_TV = 1 + np.stack([np.sum(train_BT == n, axis=0) for n in range(numbers)], axis=1)
  p_TV = counts_TV / counts_TV.sum(axis=1, keepdims=True)
  return float(-np.log2(np.take_along_axis(p_TV, test_BT.T, axis=1)).mean())
