"""FIRE: a small network of the distance, log-spaced and relative to the query's position.

Paper: Li et al. 2023, 'Functional Interpolation for Relative Positions Improves Long Context
Transformers', ICLR 2024, arXiv 2310.04418:
a_ij = q_i . k_j / sqrt(H) + f_n(psi(i - j) / psi(max(L, i))), psi(x) = ln(1 + |c x|), with f two
linear layers and a ReLU between. L = |multiplier * length|; c and multiplier are learned.
Public code adds 1e-6 to the denominator, and so does this oracle. The paper's i - j is never
negative; psi takes the absolute value.
"""

import math

import numpy as np

from tests.oracles import attention

NAMES = {
  True: ['first_R', 'first_bias_R', 'second_RN', 'second_bias_N', 'c', 'multiplier'],
  False: ['first_LR', 'first_bias_LR', 'second_LRN', 'second_bias_LN', 'c_L', 'multiplier_L'],
}


def ratio(i, j, c, limit):
  """Returns the input of the network; `limit` is L."""

  def psi(x):
    return math.log(1 + abs(c * x))

  return psi(i - j) / (psi(max(limit, i)) + 1e-6)


def network(x, first, first_bias, second, second_bias):
  """A number x -> [N]; weights [R], [R], [R,N], [N]."""
  hidden = [max(first[r] * x + first_bias[r], 0.0) for r in range(len(first))]
  return [
    math.fsum(hidden[r] * second[r, n] for r in range(len(first))) + second_bias[n]
    for n in range(len(second_bias))
  ]


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads, width = np.shape(q)[2], args['width']
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  *layers, c, multiplier = (np.asarray(weights[name], np.float64) for name in NAMES[args['shared']])
  assert [w.shape for w in layers] == [(width,), (width,), (width, heads), (heads,)]
  limit = abs(float(multiplier) * args['length'])
  content = attention.dot(q, k)

  def score(b, n, i, j):
    x = ratio(q_pos[b, i], k_pos[b, j], float(c), limit)
    return content(b, n, i, j) + network(x, *layers)[n]

  return attention.attend(score, v, visible, heads)
