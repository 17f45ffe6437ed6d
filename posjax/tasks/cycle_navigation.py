"""Cycle navigation: the place on a cycle of five after a walk from place 0.

A regular language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. Each move is
uniform: - one place back, 0 stay, + one place ahead. The answer is the place, 0 to 4. A guess
reaches the probability of the likeliest place: 1/3 after one move, and soon 1/5.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Label, tokens

MOVES = tokens('-0+')
PLACES = 5


@dataclasses.dataclass(frozen=True)
class CycleNavigation(Label):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    moves = rng.integers(3, size=size)
    return MOVES[moves], ZERO + np.array([(moves.sum() - size) % PLACES])

  def guess(self, size: int) -> float:
    """Returns the maximum of `size` circular convolutions of the shares of one move."""
    move = np.fft.fft([1 / 3, 1 / 3, 0, 0, 1 / 3])
    return float(np.fft.ifft(move**size).real.max())
