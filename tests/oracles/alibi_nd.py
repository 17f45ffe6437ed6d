"""Linear biases on several axes: a penalty per head that grows with the distance of two places.

Paper: Fuller et al. 2023, 'CROMA', NeurIPS, arXiv 2311.00566: a_ij = q_i . k_j / sqrt(H) - m_n d,
d the Euclidean distance of the places, with ALiBi's slopes (arXiv 2108.12409). 'norm' 1: d is the
sum of the distances on all axes. A token without a place has the bias 0.
"""

import math

import numpy as np

from tests.oracles import alibi, attention, swin


def distance(i, j, norm):
  """Returns the distance of two places, [P] each."""
  steps = [abs(float(a) - float(b)) for a, b in zip(i, j, strict=True)]
  return math.fsum(steps) if norm == 1 else math.hypot(*steps)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  heads = np.shape(q)[2]
  slopes = alibi.slopes(heads, args['bias_max'])
  content = attention.dot(q, k)

  def score(b, n, i, j):
    places = q_pos[b, i], k_pos[b, j]
    nowhere = swin.class_row(*places) is not None
    return content(b, n, i, j) - (0 if nowhere else slopes[n] * distance(*places, args['norm']))

  return attention.attend(score, v, visible, heads)
