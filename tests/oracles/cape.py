"""Continuous augmented positions: shifted, nudged token by token, then stretched.

Paper: Likhomanenko et al. 2021, 'CAPE: Encoding Relative Positions with Continuous Augmented
Positional Embeddings', NeurIPS, arXiv 2106.03143: p'_i = exp(lambda) (p_i + Delta + epsilon_i) in
training, with Delta from U(-D, D) and lambda from U(-ln m, ln m) for a sequence and epsilon_i from
U(-e, e) for a position. If positions are normalized, their mean is always subtracted first.
"""

import numpy as np

from tests.oracles import attention


def positions(pos, state, args=None, ids=None, segment=None):
  """pos [B,T]; of the state shift and stretch [1 or B], nudge [1 or B,C] -> fractions [B,T].

  The shift includes the subtracted mean, if any. Integer position p has the p-th nudge.
  """
  pos = np.asarray(pos)
  out = np.zeros(pos.shape)
  own = lambda array, b: np.asarray(array, np.float64)[b if len(array) > 1 else 0]
  for b in range(pos.shape[0]):
    nudge = own(state.nudge, b)
    for t in range(pos.shape[1]):
      moved = pos[b, t] + own(state.shift, b) + nudge[min(int(pos[b, t]), len(nudge) - 1)]
      out[b, t] = own(state.stretch, b) * moved
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: only the positions change."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
