"""Scalable softmax: a learned power of the number of keys that a query sees, in place of e.

Paper: Nakanishi 2025, 'Scalable-Softmax Is Superior for Attention', arXiv 2501.19399:
weight_ij = n^(s z_ij) / sum_l n^(s z_il), with z the logits, n the number of keys, and s learned
for each head. Causal text without a window has n = p + 1 at position p, counted from 0; n is at
least 1. With a bias b the exponent's base is e^b n^s.
"""

import math

import numpy as np

from tests.oracles import attention


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q_pos, content = np.asarray(q_pos, np.float64), attention.dot(q, k)
  assert ('bias_LN' in weights) == args['bias'], weights.keys()

  def score(b, n, i, j):
    base = max(q_pos[b, i] + 1, 1) ** weights['scale_LN'][n]
    if args['bias']:
      base *= math.exp(weights['bias_LN'][n])
    return content(b, n, i, j) * math.log(base)  # as base^z is e^(z ln base)

  return attention.attend(score, v, visible, np.shape(q)[2])
