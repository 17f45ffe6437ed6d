"""Multiplication: the product of two numbers of equally many digits.

McLeish et al. 2024, NeurIPS, arXiv 2405.17399 (train on up to 15 digits); Cho et al. 2024, NeurIPS,
arXiv 2405.20671. Both papers also multiply numbers of different lengths. A decoder reads

  BOS 2 1 * 4 3 SEP 8 0 4 EOS        12 * 34 = 408, numbers with the last digit first

SEP stands for '='. The size is the number of digits of an operand, drawn as in `addition`.

The guess knows the number of digits of the answer and takes a digit for each place: the most
frequent one among `SAMPLE` digits of random products. Its accuracy is measured on as many others:
an estimate, with a standard error of about 0.001.
"""

import dataclasses

import numpy as np

from posjax.tasks.addition import draw
from posjax.tasks.core.strings import Strings

SAMPLE = 500_000  # digits to choose the guess from, and as many to measure it


@dataclasses.dataclass(frozen=True)
class Multiplication(Strings):
  reverse: bool = True  # numbers begin with the last digit

  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = draw(rng, 2, size)
    answer, step = product(a, b), 1 if self.reverse else -1
    answer = answer[: len(answer) - (answer[-1] == 0)]
    question = np.concatenate([ord('0') + a[::step], [ord('*')], ord('0') + b[::step]])
    return question, ord('0') + answer[::step]

  def longest(self, size: int) -> tuple[int, int]:
    return 2 * size + 1, 2 * size

  def guess(self, size: int) -> float:
    count = max(1, SAMPLE // (2 * size))
    a, b = np.split(draw(np.random.default_rng(size), 4 * count, size), 2)
    halves, right, tokens = np.split(product(a, b), 2), 0, 0
    for carried in (False, True):  # answers of 2 * size - 1 or 2 * size digits
      width = 2 * size - (not carried)
      chosen, measured = (half[(half[:, -1] > 0) == carried, :width] for half in halves)
      best = np.argmax([(chosen == digit).sum(axis=0) for digit in range(10)], axis=0)
      right, tokens = right + np.sum(measured == best), tokens + measured.size
    return float(right / tokens)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns the digits of products of numbers [..., n], the last digit first: [..., 2 n].

  A Fourier transform in float64 is exact here: sums of up to 81 n round to the right integer.
  """
  n = 2 * a.shape[-1]
  digits = np.rint(np.fft.irfft(np.fft.rfft(a, n) * np.fft.rfft(b, n), n)).astype(np.int64)
  while (carry := digits // 10).any():
    digits -= 10 * carry
    digits[..., 1:] += carry[..., :-1]
  return digits
