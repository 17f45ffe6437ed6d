"""Temperatures: each query's logits times a given number or a function of its position p.

a_ij = f_i q_i . k_j, with p counted from 0, and 0 for negative positions:

  log_n       f = max(1, ln n / ln L), n = p + 1. Chiang and Cholak 2022, 'Overcoming a Theoretical
              Limitation of Self-Attention', arXiv 2202.12172; in this form Qwen and ReRoPE
  llama4      f = 1 + beta ln(1 + floor((p + 1) / L)). Llama 4, its layers without RoPE
  ministral   f = 1 + beta ln(1 + floor(p / L)). Ministral 3, all layers
  drope       f = 1 + growth ln(target / L). Gelberg et al. 2025, 'DroPE', arXiv 2512.12167
  uniform     f is given. Wang et al. 2024, 'Length Generalization of Causal Transformers without
              Position Encoding', arXiv 2404.12224
"""

import math

import numpy as np

from tests.oracles import attention


def factor_at(p, kind, length, beta, target, growth, factor):
  """Returns f of a query at position p."""
  p = max(p, 0)
  if kind == 'log_n':
    # A power of the length: n = L^f.
    return max(1.0, math.log(p + 1, length))
  if kind == 'llama4':
    return 1 + beta * math.log1p(math.floor((p + 1) / length))
  if kind == 'ministral':
    return 1 + beta * math.log1p(math.floor(p / length))
  if kind == 'drope':
    return 1 + growth * (math.log(target) - math.log(length))
  assert kind == 'uniform', kind
  return factor


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q_pos, content = np.asarray(q_pos, np.float64), attention.dot(q, k)

  def score(b, n, i, j):
    return factor_at(q_pos[b, i], **args) * content(b, n, i, j)

  return attention.attend(score, v, visible, np.shape(q)[2])
