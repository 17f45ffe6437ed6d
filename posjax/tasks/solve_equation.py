"""Solve equation: the digit x of an expression with brackets whose value modulo 5 is given.

A deterministic context-free language of Delétang et al. 2023, arXiv 2207.02098; see
core/chomsky.py, and core/expressions.py for the grammar. The question is an expression of size - 2
tokens with + and -, and =value; the first digit from a uniform place on, cyclically, is x. Without
products, x has one solution. A guess reaches 1/5; questions of fewer than three tokens are zeros
with the answer 0.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import Label, tokens
from posjax.tasks.core.expressions import expression


@dataclasses.dataclass(frozen=True)
class SolveEquation(Label):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    if size < 3:
      return tokens('0' * size), tokens('0')
    text, value = expression(rng, size - 2, '+-')
    place = int(rng.integers(len(text)))
    while not text[place].isdigit():
      place = (place + 1) % len(text)
    return tokens(f'{text[:place]}x{text[place + 1 :]}={value}'), tokens(text[place])

  def guess(self, size: int) -> float:
    return 1.0 if size < 3 else 0.2
