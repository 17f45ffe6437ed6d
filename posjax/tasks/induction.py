"""Induction heads: after the trigger, repeat what followed its first occurrence.

Fu et al. 2022, "Hungry hungry hippos", arXiv 2212.14052, by the rules of the code of Hyena (Poli et
al. 2023, arXiv 2302.10866); Gu and Dao 2023, arXiv 2312.00752, test lengths far beyond training. A
row is a string of random symbols with the trigger `=>` inside, and the trigger again at the end.
The `copied` symbols after the first trigger are the answer. Half of the rows have one trigger in
the string, the others `triggers` at random places, without those that are within `copied` tokens of
the trigger before. The same symbols follow each trigger.

`symbols` counts the trigger and the symbol `.`, which only `associative_recall` uses. Only the
answer has a loss; that code trains on all tokens and tests the answer. A guess that is
blind to order answers the most frequent symbol of the row.
"""

import dataclasses

import numpy as np

from posjax.batch import Batch, Example
from posjax.tasks.core.labels import Labels, most_frequent


@dataclasses.dataclass(frozen=True)
class Induction(Labels):
  symbols: int = 16  # different tokens, of which two are the trigger and `.`
  triggers: int = 1  # occurrences of the trigger, in half of the rows
  copied: int = 1  # symbols to repeat

  @property
  def vocabulary(self) -> int:
    return self.symbols

  @property
  def shortest(self) -> int:
    return 2 * self.copied + 2

  def check(self, length: int) -> None:
    for name, least in (('symbols', 4), ('triggers', 1), ('copied', 1)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} = {getattr(self, name)}: must be at least {least}')
    super().check(length)

  def make(self, rng: np.random.Generator, length: int) -> Example:
    size, trigger = length - self.copied, self.symbols - 1
    string = rng.integers(self.symbols - 2, size=size)
    count = 1 if rng.random() < 0.5 else self.triggers
    places = np.sort(rng.integers(size - 1 - self.copied, size=count))
    kept = [places[0]]
    for place in places[1:]:
      if place - kept[-1] > self.copied:
        kept.append(place)
    answer = string[kept[0] + 1 : kept[0] + 1 + self.copied].copy()
    for place in kept:
      string[place] = trigger
      string[place + 1 : place + 1 + self.copied] = answer
    tokens = np.concatenate([string, [trigger], answer]).astype(np.int32)
    return Example(tokens[:-1], tokens[1:], np.arange(length) >= size)

  def guess(self, rows: Batch) -> np.ndarray:
    return most_frequent(rows.stream.x, rows.targets, 0, self.symbols - 2)
