"""Counting: how often a variable was incremented since it was last set to 0.

After the counting task of Golovneva et al. 2024, "Contextual position encoding", arXiv 2405.18719.
A row is a sequence of statements of one token each: set a variable to 0, increment it, or pass;
training draws them with weights 1, 5 and 12, the variable uniformly. The first statement is set. An
increment of a variable that is not set yet, or that would pass `cap`, is a pass. The label of each
statement is the value of the variable that was named last; with one variable, the count since set.

The paper has weights 1, 7 and 50, a cap of 10, rows of 3 to 512 statements, redraws invalid
statements, and asks for one value at the end. Both tests score only the second half of each row:
`dense` has the weights of training, `sparse` 0.5, 2.5 and 24. The guess is the most frequent label.
"""

import dataclasses
import functools

import numpy as np

from posjax.batch import Example
from posjax.tasks.core.labels import Labels, Variant

PASS, SET, INCREMENT = range(3)
DENSE = np.array([12, 1, 5]) / 18
SPARSE = np.array([24, 0.5, 2.5]) / 27


@dataclasses.dataclass(frozen=True)
class Counting(Labels):
  nvars: int = 1  # variables
  cap: int = 6  # the largest count

  @property
  def vocabulary(self) -> int:
    return 1 + 2 * self.nvars

  @property
  def outputs(self) -> int:
    return self.cap + 1

  def check(self, length: int) -> None:
    super().check(length)
    for name in ('nvars', 'cap'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name} = {getattr(self, name)}: must be positive')

  def make(self, rng: np.random.Generator, length: int) -> Example:
    return self.statements(rng, length, DENSE)

  def variants(self) -> dict[str, Variant]:
    return {
      name: Variant(
        f'the second half of each: set {shares[SET]:.3f}, increment {shares[INCREMENT]:.3f}',
        functools.partial(self.statements, shares=shares, after=0.5),
      ) for name, shares in (('dense', DENSE), ('sparse', SPARSE))
    }

  def statements(
    self, rng: np.random.Generator, length: int, shares: np.ndarray, after: float = 0.0
  ) -> Example:
    """Returns a row with labels after a share of its tokens."""
    kinds = rng.choice(3, size=length, p=shares)
    kinds[0] = SET
    variables = rng.integers(self.nvars, size=length)
    x, counts = np.zeros(length, np.int32), np.zeros((self.nvars, length), np.int32)
    for variable in range(self.nvars):
      is_set = (variables == variable) & (kinds == SET)
      up = (variables == variable) & (kinds == INCREMENT) & np.logical_or.accumulate(is_set)
      total = np.cumsum(up)
      since = total - np.maximum.accumulate(np.where(is_set, total, 0))
      x += (1 + variable) * is_set
      x += (1 + self.nvars + variable) * (up & (since <= self.cap))
      counts[variable] = np.minimum(since, self.cap)
    places = np.arange(length)
    named = variables[np.maximum.accumulate(np.where(x, places, 0))]
    return Example(x, counts[named, places], places >= int(after * length))
