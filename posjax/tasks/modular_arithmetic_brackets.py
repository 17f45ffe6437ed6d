"""Modular arithmetic with brackets: the value of an expression, modulo 5.

A deterministic context-free language of Delétang et al. 2023, arXiv 2207.02098; see
core/chomsky.py, and core/expressions.py for the grammar. The operators are +, - and *, as in the
paper's list of tasks. A guess reaches the probability of 0, which grows with the number of tokens
because of products: 1/5 up to 4, 0.29 at 41, 0.32 at 500.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import Label, tokens
from posjax.tasks.core.expressions import expression, value_shares


@dataclasses.dataclass(frozen=True)
class ModularArithmeticBrackets(Label):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    question, value = expression(rng, size, '+-*')
    return tokens(question), tokens(str(value))

  def guess(self, size: int) -> float:
    return float(value_shares(size, '+-*').max())
