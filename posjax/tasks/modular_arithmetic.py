"""Modular arithmetic: the value of an expression without brackets, modulo 5.

A regular language of Delétang et al. 2023, arXiv 2207.02098; see core/chomsky.py. Digits 0 to 4
alternate with operators +, - and *, all uniform; * binds tighter. The number of tokens is odd: an
even size gives one token less. A guess reaches the probability of 0: 1/5 for one digit, at most
0.254 for more, and 1/5 for long expressions.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.chomsky import ZERO, Label, tokens
from posjax.tasks.core.expressions import MODULUS

OPERATORS = tokens('+-*')


@dataclasses.dataclass(frozen=True)
class ModularArithmetic(Label):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    digits = rng.integers(MODULUS, size=(size + 1) // 2)
    operators = OPERATORS[rng.integers(3, size=len(digits) - 1)]
    question = np.empty(2 * len(digits) - 1, np.int32)
    question[0::2], question[1::2] = ZERO + digits, operators
    return question, ZERO + np.array([value(digits, operators)])

  def guess(self, size: int) -> float:
    """Returns the probability of the likeliest value.

    A joint table of the sum of the finished terms and the last term is updated digit by digit.
    """
    joint_SP = np.zeros((MODULUS, MODULUS))
    joint_SP[0] = 1 / MODULUS
    for _ in range((size - 1) // 2):
      times_SP = np.tile(joint_SP[:, 1:].sum(axis=1, keepdims=True) / MODULUS, MODULUS)
      times_SP[:, 0] += joint_SP[:, 0]
      plus_SP = np.tile(value_shares(joint_SP)[:, None] / MODULUS, MODULUS)
      joint_SP = (2 * plus_SP + times_SP) / 3
    return float(value_shares(joint_SP).max())


def value(digits: np.ndarray, operators: np.ndarray) -> int:
  """Returns the value of an expression, modulo 5."""
  plus, minus, _ = OPERATORS.tolist()
  total, term = 0, int(digits[0])
  for sign, digit in zip(operators.tolist(), digits[1:].tolist(), strict=True):
    if sign == plus:
      total, term = total + term, digit
    elif sign == minus:
      total, term = total + term, -digit
    else:
      term = term * digit % MODULUS
  return (total + term) % MODULUS


def value_shares(joint_SP: np.ndarray) -> np.ndarray:
  """Returns the probability of each sum modulo 5 of two numbers with a joint table."""
  values = np.arange(MODULUS)
  sums_SP = (values[:, None] + values) % MODULUS
  return np.bincount(sums_SP.ravel(), joint_SP.ravel(), MODULUS)
