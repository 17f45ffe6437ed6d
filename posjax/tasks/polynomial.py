"""Polynomial: the value of a sum of terms at an integer, modulo 10.

Kazemnejad et al. 2023, NeurIPS, arXiv 2305.19466 (`poly` in the released data; train on up to 8
terms, test on up to 16). The size is the number of terms. Each term has a coefficient uniform in
-3 .. 3 and a degree uniform in 0 .. 3; x is uniform in -2 .. 2; degrees may repeat. All values lie
in 0 .. 9, as in Python: -3 is 7. A question is written x=-2:+3x^2-1x^0; there is no scratchpad.

The guess is the likeliest answer for the number of terms: for each x, the distribution of a term
modulo 10, convolved with itself; the average of these over x.
"""

import dataclasses

import numpy as np

from posjax.tasks.core.strings import Strings

COEFFICIENTS, DEGREES, XS = range(-3, 4), range(4), range(-2, 3)
VALUES = np.array([  # of a term modulo 10, [x, coefficient, degree]
  [[c * x**e % 10 for e in DEGREES] for c in COEFFICIENTS] for x in XS
])
signed = lambda number: f'{number:+d}'.encode()
TERMS = np.array([  # [coefficient, degree, 5] bytes
  [list(signed(c) + b'x^%d' % e) for e in DEGREES] for c in COEFFICIENTS
])
STARTS = np.array([list(b'x=' + signed(x) + b':') for x in XS])


@dataclasses.dataclass(frozen=True)
class Polynomial(Strings):
  def make(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    x, drawn = rng.integers(len(XS)), rng.integers(TERMS.shape[0] * TERMS.shape[1], size=size)
    coefficients, degrees = np.divmod(drawn, len(DEGREES))
    value = VALUES[x, coefficients, degrees].sum(keepdims=True) % 10
    question = np.concatenate([STARTS[x], TERMS[coefficients, degrees].reshape(-1)])
    return question, ord('0') + value

  def longest(self, size: int) -> tuple[int, int]:
    return 5 + 5 * size, 1

  def guess(self, size: int) -> float:
    shares_XR = np.stack([np.bincount(of_x.reshape(-1), minlength=10) for of_x in VALUES])
    waves_XR = np.fft.fft(shares_XR / shares_XR[0].sum(), axis=1) ** size
    return float(np.fft.ifft(waves_XR, axis=1).real.mean(axis=0).max())
