"""Self-Extend: RoPE up to a window; beyond it, groups of tokens share positions.

Paper: Jin et al. 2024, 'LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning', ICML,
arXiv 2401.01325. A query at n, a key at m, window w, groups of G:
r = n - m if n - m < w, else (floor(n / G) + w - floor(w / G)) - floor(m / G).
"""

import math

import numpy as np

from tests.oracles import remap


def relative(n, m, window, group):
  """r for a query at n and a key at m."""
  if n - m < window:
    return n - m
  return math.floor(n / group) + window - window // group - math.floor(m / group)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  return remap.attend(relative, q, k, v, q_pos, k_pos, visible, args)
