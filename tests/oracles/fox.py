"""Forgetting attention: a gate per token and head makes earlier tokens fade.

Paper: Lin et al. 2025, 'Forgetting Transformer: Softmax Attention with a Forget Gate', ICLR,
arXiv 2503.02130: a_ij = q_i . k_j / sqrt(H) + sum_{m=j+1..i} log f_m, f_t = sigmoid(w . x_t + b),
with a gate per query head. Here m runs over the keys that query i sees and that come after key j,
which is the paper's sum under a causal mask.
"""

import math

import numpy as np

from tests.oracles import attention


def log_gates(x, weights):
  """x [B,S,D] -> log f [B,S,N]."""
  x, gate = np.asarray(x, np.float64), np.asarray(weights['gate_LDN'], np.float64)
  bias = np.asarray(weights['gate_bias_LN'], np.float64)
  out = np.zeros((*x.shape[:2], len(bias)))
  for b in range(x.shape[0]):
    for t in range(x.shape[1]):
      for n in range(len(bias)):
        out[b, t, n] = -np.logaddexp(0, -(x[b, t] @ gate[:, n] + bias[n]))
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the gates enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  content = attention.dot(q, k)
  gates, order = log_gates(ends[1]['x'], weights), np.asarray(ends[1]['order'])

  def score(b, n, i, j):
    between = [m for m in np.flatnonzero(visible[b, i]) if order[b, m] > order[b, j]]
    return content(b, n, i, j) + math.fsum(gates[b, m, n] for m in between)

  return attention.attend(score, v, visible, np.shape(q)[2])
