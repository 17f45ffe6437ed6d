"""Copy: a string of random symbols, then the same string again.

Jelassi et al. 2024, "Repeat after me", arXiv 2402.01032. Kazemnejad et al. 2023, arXiv 2305.19466,
compare positional encodings at lengths beyond those of training; their symbols are 100 tokens of
T5's vocabulary and their shortest string has two. Symbols are independent and uniform, so that a
guess is right for one token in `symbols`.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.strings import Strings


@dataclasses.dataclass(frozen=True)
class Copy(Strings):
  symbols: int = 16  # letters to draw from

  def check(self, length: int) -> None:
    super().check(length)
    if not 2 <= self.symbols <= 26:
      raise ValueError(f'symbols = {self.symbols}: must be in [2, 26], the letters a to z')

  def letters(self, rng: np.random.Generator, size: int) -> np.ndarray:
    """Returns `size` independent letters."""
    return ord('a') + rng.integers(self.symbols, size=size)

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    letters = self.letters(rng, size)
    return letters, letters

  def guess(self, size: int) -> float:
    return 1 / self.symbols
