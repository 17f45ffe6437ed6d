"""Sandwich: the inner product of two positions' sinusoids, scaled for each head.

Paper: Chi et al. 2023, 'Dissecting Transformer Length Extrapolation via the Lens of Receptive Field
Analysis', ACL, arXiv 2212.10356: a_ij = q_i . k_j / sqrt(H) + b_n(i - j),
b_n(r) = (sum_k cos(r base^(-2k/D)) - D/2) / (8n/N), n = 1..N, with D/2 values of k from `first`.
The constant D/2 shifts all logits of a query equally; public code and this oracle subtract it.
"""

import math

import numpy as np

from tests.oracles import attention


def bias(head, heads, i, j, width, base, first):
  """Returns the bias of head `head` of `heads`, from 0 on, on the logit of query i and key j."""
  waves = [math.cos((i - j) * base ** (-2 * k / width)) for k in range(first, first + width // 2)]
  return (math.fsum(waves) - width // 2) / (8 * (head + 1) / heads)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads = np.shape(q)[2]
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  content = attention.dot(q, k)

  def score(b, n, i, j):
    return content(b, n, i, j) + bias(n, heads, q_pos[b, i], k_pos[b, j], **args)

  return attention.attend(score, v, visible, heads)
