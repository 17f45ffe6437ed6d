"""Word problem of a finite group: the product of all elements up to each token.

Merrill et al. 2024, "The illusion of state in state-space models", arXiv 2404.08819. A row is BOS
and uniformly random elements x_1, x_2, … of the group; the label of x_t is x_1 x_2 … x_t, with
(x y)(i) = x(y(i)) for permutations. BOS has no label. `group` is S, A or Z and a number
(all permutations, the even ones, addition modulo n), or a product of groups, such as A4xZ5. The
paper has A5, A4xZ5 and Z60, rows of up to 20 elements, and trains on rows of each length.

The products are uniform and independent: without one of the elements up to t, no guess of the label
is right with a probability above 1/|G|, the printed one. The first label is x_1. A guess that knows
which elements came before, but not in which order, knows the product up to a commutator, and is
right with probability 1/|[G, G]|: 2/n! for S_n, 1/60 for A5, 1 for Z_n, which needs no order.
"""

import dataclasses
import functools
import itertools
import math
import re

import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.labels import Labels

LARGEST = 720  # elements; the table of products has the square of it


@dataclasses.dataclass(frozen=True)
class WordProblem(Labels):
  group: str = 'S3'  # S3, S5, A5, Z60, …, or a product, such as A4xZ5
  shown = ('token accuracy', 'last accuracy', 'exact match')

  @property
  def order(self) -> int:
    """The number of elements."""
    return math.prod(map(order, self.group.split('x')))

  @property
  def vocabulary(self) -> int:
    return self.order + 1

  @property
  def outputs(self) -> int:
    return self.order

  def check(self, length: int) -> None:
    super().check(length)
    for name in self.group.split('x'):
      if not re.fullmatch(r'[SAZ][1-9]\d{0,2}', name):
        raise ValueError(
          f'group = {self.group}: must be S, A or Z and a number, such as S5, or a product of '
          'such groups, such as A4xZ5'
        )
    if not 2 <= self.order <= LARGEST:
      raise ValueError(
        f'group = {self.group}: must have 2 to {LARGEST} elements; S5 has 120, S6 has 720'
      )

  def make(self, rng: np.random.Generator, length: int) -> Example:
    products = table(self.group)
    elements = rng.integers(self.order, size=length - 1)
    labels = itertools.accumulate(elements.tolist(), lambda state, x: products[state][x])
    return row(self.order, elements, [*labels])

  def guess(self, rows: Batch) -> np.ndarray:
    return np.full(rows.targets.shape, 1 / self.order)


def row(bos: int, elements: np.ndarray, labels: list[int]) -> Example:
  """Returns the row of `bos` and elements, with a label for each element."""
  x = np.concatenate([[bos], elements]).astype(np.int32)
  return Example(x, np.array([0, *labels], np.int32), np.arange(len(x)) > 0)


def order(name: str) -> int:
  """Returns the number of elements of a group such as 'S5'."""
  size = int(name[1:])
  return {'S': math.factorial(size), 'A': max(1, math.factorial(size) // 2), 'Z': size}[name[0]]


@functools.lru_cache
def table(group: str) -> list[list[int]]:
  """Returns the number of the product of elements i and j at [i][j]; 0 is the neutral element."""
  products = np.zeros((1, 1), np.int64)
  for name in group.split('x'):
    own = np.array(single(name))
    products = np.add.outer(products * len(own), own)  # [i, j, k, l]
    size = products.shape[0] * products.shape[2]
    products = products.transpose(0, 2, 1, 3).reshape(size, size)
  return products.tolist()


def single(name: str) -> list[list[int]]:
  """Returns the table of a group such as 'S5'."""
  size = int(name[1:])
  if name[0] == 'Z':
    return [[(i + j) % size for j in range(size)] for i in range(size)]
  elements = [p for p in itertools.permutations(range(size)) if name[0] == 'S' or even(p)]
  number = {p: i for i, p in enumerate(elements)}
  return [[number[tuple(p[i] for i in q)] for q in elements] for p in elements]


def even(permutation: tuple[int, ...]) -> bool:
  """Returns whether the number of inversions is even."""
  return sum(a > b for a, b in itertools.combinations(permutation, 2)) % 2 == 0
