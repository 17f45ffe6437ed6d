"""CABLE: a bias that each token computes from its content, summed along the sequence.

Paper: Veisi et al. 2025, 'Context-aware Biases for Length Extrapolation', arXiv 2503.08067:
a_ij = q_i . k_j + c_i - c_j, c_t = - sum_{l <= t} softplus(w_n . x_l + b_n), for each query head.
The released code has no 1/sqrt(H); here it is in q and is divided out, unless 'scaled'.
The sum from j+1 to i runs over the keys that query i sees and that come after key j.
"""

import math

import numpy as np

from tests.oracles import attention


def step(x, weights, n):
  """Returns the amount that a token, x [D], adds to c in head n."""
  w, b = (np.asarray(weights[name], np.float64) for name in ['gate_LDN', 'gate_bias_LN'])
  logit = math.fsum(x[d] * w[d, n] for d in range(len(x))) + b[n]
  # ln(1 + e^z) without overflow.
  return -(max(logit, 0.0) + math.log1p(math.exp(-abs(logit))))


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the biases enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  heads, size = np.shape(q)[2:]
  content, order = attention.dot(q, k), np.asarray(ends[1]['order'])
  x = np.asarray(ends[1]['x'], np.float64)
  factor = 1.0 if args['scaled'] else math.sqrt(size)

  def score(b, n, i, j):
    between = [m for m in np.flatnonzero(visible[b, i]) if order[b, m] > order[b, j]]
    return factor * content(b, n, i, j) + math.fsum(step(x[b, m], weights, n) for m in between)

  return attention.attend(score, v, visible, heads)
