"""Arithmetic modulo 5 with brackets: the grammar of two tasks of the Chomsky hierarchy.

Delétang et al. 2023, arXiv 2207.02098. An expression of 1 token is d, of 2 tokens -d, of 3 (d), of
4 (-d), where d is a uniform digit. A longer one of n tokens is (L op R): the left side has 1 to
n - 4 tokens, uniformly, the right side has the rest, and the operator is uniform.
"""

import operator

import numpy as np

MODULUS = 5
OPERATIONS = {'+': operator.add, '-': operator.sub, '*': operator.mul}
SHORT = ('{}', '-{}', '({})', '(-{})')  # expressions of 1 to 4 tokens


def expression(rng: np.random.Generator, length: int, operators: str) -> tuple[str, int]:
  """Returns an expression of `length` tokens and its value, 0 to 4."""
  below = lambda n: int(rng.random() * n)  # five times faster than rng.integers(n)
  if length < 5:
    digit = below(MODULUS)
    return SHORT[length - 1].format(digit), (-digit if length % 2 == 0 else digit) % MODULUS
  left_length = 1 + below(length - 4)
  left, left_value = expression(rng, left_length, operators)
  right, right_value = expression(rng, length - 3 - left_length, operators)
  sign = operators[below(len(operators))]
  return f'({left}{sign}{right})', OPERATIONS[sign](left_value, right_value) % MODULUS


def value_shares(length: int, operators: str) -> np.ndarray:
  """Returns the probability of each value of expressions of `length` tokens, [5], exactly."""
  values = np.arange(MODULUS)
  results = [OPERATIONS[sign](values[:, None], values) % MODULUS for sign in operators]
  shares_LV = np.full((max(length, 4) + 1, MODULUS), 1 / MODULUS)  # up to 4 tokens: uniform
  for n in range(5, length + 1):
    joint_VV = shares_LV[1 : n - 3].T @ shares_LV[n - 4 : 0 : -1] / (n - 4)
    shares_LV[n] = np.mean(
      [np.bincount(table.ravel(), joint_VV.ravel(), MODULUS) for table in results], axis=0
    )
  return shares_LV[length]
