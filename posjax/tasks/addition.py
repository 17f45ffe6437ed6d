"""Addition: the sum of two numbers, digit by digit.

McLeish et al. 2024, "Transformers can do arithmetic with the right embeddings", NeurIPS, arXiv
2405.17399 (`abacus`); Cho et al. 2024, "Position coupling", NeurIPS, arXiv 2405.20671 (`coupling`);
Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466, without scratchpad. A decoder reads

  BOS 2 1 + 4 3 SEP 6 4 EOS        12 + 34 = 46, numbers with the last digit first

SEP stands for '='. The size is the number of digits of the longer operand. An operand of several
digits does not begin with 0; its other digits, and the only one of a number below 10, are uniform,
as in the second paper. With `equal=False`, one operand has `size` digits and the other 1 to `size`;
either may be first. The second paper draws both numbers of digits up to a largest one.

Abacus counts the digits of each number, as they stand: it needs `reverse`, not `pad`. Position
coupling needs `reverse`, and SEP (258) among its operators, so that the token that predicts the
first digit knows the random start; its paper also uses `pad`.

The guess knows the number of digits of the answer and takes the likeliest digit of each place. The
distribution of the digit at a place is exact: it takes into account the carry from lower places,
and the number of digits of the answer that higher places lead to.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.strings import Strings


@dataclasses.dataclass(frozen=True)
class Addition(Strings):
  reverse: bool = True  # numbers begin with the last digit
  equal: bool = True  # both operands have `size` digits; False: one has 1 to `size`
  pad: bool = False  # zeros fill operands to `size` digits and the answer to `size` + 1

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    operands = draw(rng, size), draw(rng, size if self.equal else int(rng.integers(1, size + 1)))
    wide = [np.pad(digits, (0, size - len(digits))) for digits in operands]
    total = carried(wide[0] + wide[1])
    written = [*(wide if self.pad else operands), total if self.pad else trimmed(total)]
    a, b, answer = (ord('0') + digits[:: 1 if self.reverse else -1] for digits in written)
    if not self.equal and rng.integers(2):
      a, b = b, a
    return np.concatenate([a, [ord('+')], b]), answer

  def longest(self, size: int) -> tuple[int, int]:
    return 2 * size + 1, size + 1

  def guess(self, size: int) -> float:
    shares_CPR, last_C = digit_shares(size, [size] if self.equal else range(1, size + 1))
    if self.pad:
      return float((shares_CPR.sum(axis=0).max(axis=1).sum() + last_C.max()) / (size + 1))
    return float((shares_CPR.max(axis=2).sum() + last_C[1]) / (size + last_C[1]))


def draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
  """Returns the digits of random numbers, one along the last axis, the last digit first."""
  digits = rng.integers(10, size=shape)
  if shape[-1] > 1:
    digits[..., -1] = rng.integers(1, 10, size=shape[:-1])
  return digits


def carried(sums: np.ndarray) -> np.ndarray:
  """Returns the digits of a number whose places hold up to 18 each, and its last carry: [n + 1].

  A place of 9 passes a carry on; any other place makes its own from its sum alone. Hence the carry
  into a place is that of the nearest lower place that is not 9.
  """
  makes = np.maximum.accumulate(np.where(sums != 9, np.arange(len(sums)), -1))
  carry = (makes >= 0) & (sums[makes] > 9)
  return (np.append(sums, 0) + np.append(0, carry)) % 10


def trimmed(digits: np.ndarray) -> np.ndarray:
  """Returns the digits without leading zeros, but at least one; the last digit is first."""
  nonzero = np.flatnonzero(digits)
  return digits[: nonzero[-1] + 1 if len(nonzero) else 1]


def digit_shares(size: int, others: range | list[int]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the distribution of the digits of a sum, the last digit first.

  Args:
    size: digits of one operand.
    others: digits of the other one, each equally likely.

  Returns:
    The probability that place i is r and the last carry is c, [2, size, 10]; and of c, [2].
  """
  uniform, leading = np.full(10, 1 / 10), np.append(0, np.full(9, 1 / 9))
  of = lambda n, i: np.eye(10)[0] if i >= n else leading if 0 < i == n - 1 else uniform
  # [other operand, carry in, digit, carry out] for each place.
  steps = []
  for i in range(size):
    pairs_KS = np.stack([np.convolve(of(size, i), of(n, i)) for n in others])
    step = np.stack([np.pad(pairs_KS, [(0, 0), (carry, 1 - carry)]) for carry in (0, 1)], axis=1)
    steps.append(step.reshape(-1, 2, 2, 10).swapaxes(2, 3))
  after = [np.tile(np.eye(2), (len(others), 1, 1))]  # from each carry to the last one
  for step in reversed(steps):
    after.append(np.einsum('kcrd,kdz->kcz', step, after[-1]))
  before, found = np.tile(np.eye(2)[0], (len(others), 1)) / len(others), []
  for step, rest in zip(steps, after[-2::-1], strict=True):
    found.append(np.einsum('kc,kcrd,kdz->zr', before, step, rest))
    before = np.einsum('kc,kcrd->kd', before, step)
  return np.stack(found, axis=1), before.sum(axis=0)
