"""Attention with linear biases: a penalty per head that grows with the distance.

Paper: Press, Smith, Lewis 2021, 'Train Short, Test Long: Attention with Linear Biases Enables
Input Length Extrapolation', ICLR 2022, arXiv 2108.12409, section 3:
a_ij = q_i . k_j / sqrt(H) - m_n (i - j), with m_n = 2^(-8n/N), n = 1..N, and no factor 1/sqrt(H) on
the bias. Here |i - j|, which equals the paper's i - j under a causal mask, and is symmetric without
one.
Learned slopes (x-transformers) are the exponentials of `log_slope_RN`: one row for both sides, or
with 'apart' a second one for keys after the query. `factor` multiplies the slopes that are not
learned: 1/sqrt(H) is Falcon's form, (q_i . k_j - m_n (i - j)) / sqrt(H).
"""

import math

import numpy as np

from tests.oracles import attention


def slopes(heads, bias_max):
  """Returns m_n for n = 1..heads; bias_max is the paper's 8."""
  count = 2 ** math.floor(math.log2(heads))
  out = [2.0 ** (-bias_max * n / count) for n in range(1, count + 1)]
  # For a head count that is no power of two, the authors' code adds every other slope of the next
  # power of two, which lie between the first slopes.
  between = [2.0 ** (-bias_max * n / (2 * count)) for n in range(1, 2 * count, 2)]
  return out + between[: heads - count]


def bias(slope, i, j):
  """Returns a head's bias on the logit of query position i and key position j."""
  return -slope * abs(i - j)


def sides(heads, args, weights):
  """Returns the slopes for keys before the query and for keys after it: [N] each."""
  if args.get('learned', 'no') == 'no':
    fixed = [args.get('factor', 1.0) * m for m in slopes(heads, args['bias_max'])]
    return fixed, fixed
  rows = np.exp(np.asarray(weights['log_slope_RN'], np.float64))
  assert rows.shape == ({'alike': 1, 'apart': 2}[args['learned']], heads), rows.shape
  return rows[0], rows[-1]


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads = np.shape(q)[2]
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  content = attention.dot(q, k)
  before, after = sides(heads, args, weights)

  def score(b, n, i, j):
    slope = after[n] if k_pos[b, j] > q_pos[b, i] else before[n]
    return content(b, n, i, j) + bias(slope, q_pos[b, i], k_pos[b, j])

  return attention.attend(score, v, visible, heads)
