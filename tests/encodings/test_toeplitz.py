"""Toeplitz blocks equal loops over queries and keys, and so do their gradients."""

import jax
import numpy as np
import pytest

from posjax.encodings.core.toeplitz import linear, skew, unskew
from tests.support.problem import close

pytestmark = pytest.mark.usefixtures('float64')

# Numbers of queries and keys: one, equal, more of either; powers of two and others.
SIZES = [(1, 1), (1, 5), (5, 1), (4, 4), (3, 8), (8, 3), (6, 13), (13, 6)]


def moved(x_BNTR, T):
  """Returns y[i, j] = x[i, T - 1 - i + j]; all i share x if it has one row."""
  S = x_BNTR.shape[-1] - T
  rows = np.broadcast_to(x_BNTR, (*x_BNTR.shape[:2], T, T + S))
  y = np.zeros((*rows.shape[:3], S))
  for i in range(T):
    for j in range(S):
      y[..., i, j] = rows[..., i, T - 1 - i + j]
  return y


def moved_back(y_BNTS):
  T, S = y_BNTS.shape[2:]
  x = np.zeros((*y_BNTS.shape[:3], T + S))
  for i in range(T):
    for j in range(S):
      x[..., i, T - 1 - i + j] = y_BNTS[..., i, j]
  return x


def draw(*shape):
  return np.random.default_rng(0).normal(size=shape)


def solve(function, cases):
  """Returns, for each case (x, dy), the function's value and its gradient for `dy`."""

  def one(x, dy):
    y, pull = jax.vjp(lambda x: function(x, *dy.shape[2:]), x)
    return y, pull(dy)[0]

  return jax.jit(lambda cases: [one(*case) for case in cases])(cases)


def total(x, axis):
  return x.sum(axis=axis, keepdims=True)


def test_skew_of_separate_rows():
  cases = [(draw(2, 3, T, T + S), draw(2, 3, T, S)) for T, S in SIZES]
  want = [(moved(x, x.shape[2]), moved_back(dy)) for x, dy in cases]
  close(solve(lambda x, T, S: skew(x, T), cases), want)


def test_skew_of_a_shared_row():
  cases = [(draw(2, 3, 1, T + S), draw(2, 3, T, S)) for T, S in SIZES]
  want = [(moved(x, dy.shape[2]), total(moved_back(dy), 2)) for x, dy in cases]
  close(solve(lambda x, T, S: skew(x, T), cases), want)


def test_unskew():
  cases = [(draw(2, 3, T, S), draw(2, 3, T, T + S)) for T, S in SIZES]
  want = [(moved_back(y), moved(dx, y.shape[2])) for y, dx in cases]
  close(solve(lambda y, *_: unskew(y), cases), want)


def test_linear_is_skew_of_evenly_spaced_numbers():
  """Gradients of the start and the slope agree; gradients of single numbers may differ."""
  cases = [(draw(2, 2, 3, 1, 1), draw(2, 3, T, S)) for T, S in SIZES]
  line = lambda x, T, S: x[0] + x[1] * np.arange(T + S)
  found = solve(lambda x, T, S: linear(line(x, T, S), T), cases)
  for (x, dy), got in zip(cases, found, strict=True):
    T, S = dy.shape[2:]
    back = total(moved_back(dy), 2)
    dx = np.stack([total(back, -1), total(back * np.arange(T + S), -1)])
    close(got, (moved(line(x, T, S), T), dx))
