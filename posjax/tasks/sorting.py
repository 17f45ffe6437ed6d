"""Sorting: a string of random symbols, then the same symbols in the order of their bytes.

Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466 (`sort sngd` in the released data: 50 alphanumeric
tokens, sorted by their index). Symbols are single tokens, independent, and may repeat; the paper's
other form, which sorts integers of several digits, is left out.

The guess knows where each place of the answer lies in the order: for place i it is the likeliest
value of the i-th smallest of n independent uniform symbols, whose distribution is that of an order
statistic, P(i-th smallest <= k) = P(Binomial(n, k / symbols) >= i).
"""

import dataclasses
import string

import numpy as np
from scipy import special

from posjax.tasks.core.strings import Strings

SYMBOLS = np.sort(np.frombuffer((string.digits + string.ascii_letters).encode(), np.uint8))


@dataclasses.dataclass(frozen=True)
class Sorting(Strings):
  symbols: int = 50  # of 0-9, A-Z, a-z, in this order, to draw from

  def check(self, length: int) -> None:
    super().check(length)
    if not 2 <= self.symbols <= len(SYMBOLS):
      raise ValueError(
        f'symbols = {self.symbols}: must be in [2, {len(SYMBOLS)}], the digits and letters'
      )

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    symbols = SYMBOLS[rng.integers(self.symbols, size=size)]
    return symbols, np.sort(symbols)

  def guess(self, size: int) -> float:
    shares = np.arange(self.symbols + 1) / self.symbols
    below = special.bdtrc(np.arange(size)[:, None], size, shares)  # P(Binomial > place)
    return float(np.diff(below, axis=1).max(axis=1).mean())
