"""PoPE: each channel of q and k is a magnitude, the content's, and a phase, the position's.

Paper: Gopalakrishnan, Csordas, Schmidhuber, Mozer 2025, 'Decoupling the "What" and "Where" With
Polar Coordinate Positional Embeddings', arXiv 2509.10534: for a query at n and a key at m,
a_nm = sum_c mu(q_c) mu(k_c) cos((m - n) theta_c + delta_c) / sqrt(H), mu = softplus,
theta_c = base^(-c/H) for all H channels; delta is learned for each head and channel, and clipped to
[-2 pi, 0].
"""

import math

import numpy as np

from tests.oracles import attention


def product(q, k, delta, distance, base):
  """q, k and delta [H] -> the sum over channels; `distance` is query minus key position."""
  size = len(q)
  terms = []
  for c in range(size):
    phase = -distance * base ** (-c / size) + min(max(delta[c], -2 * math.pi), 0)
    terms.append(np.logaddexp(0, q[c]) * np.logaddexp(0, k[c]) * math.cos(phase))
  return math.fsum(terms)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  delta = np.asarray(weights['delta_LKH'], np.float64)
  heads, size = q.shape[2:]
  group = heads // k.shape[2]

  def score(b, n, i, j):
    # Divide 1/sqrt(H) out of q, because the magnitude excludes it.
    query, distance = q[b, i, n] * math.sqrt(size), q_pos[b, i] - k_pos[b, j]
    key, turn = k[b, j, n // group], delta[n // group]
    return product(query, key, turn, distance, args['base']) / math.sqrt(size)

  return attention.attend(score, v, visible, heads)
