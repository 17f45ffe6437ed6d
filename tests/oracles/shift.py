"""Shifted positions: one random offset for all tokens of a sequence.

Paper: Kiyono et al. 2021, 'SHAPE: Shifted Absolute Position Embedding for Transformers', EMNLP,
arXiv 2109.05644: p_i + k replaces p_i, with k uniform on 0, ..., K-1 for each sequence of a
training batch. The authors' code uses k = K outside of training.
"""

import numpy as np

from tests.oracles import attention


def positions(pos, state, args=None, ids=None, segment=None):
  """pos [B,T], offsets [1 or B] -> pos plus its row's offset."""
  pos, out = np.asarray(pos), np.array(pos)
  for b in range(pos.shape[0]):
    for t in range(pos.shape[1]):
      out[b, t] = pos[b, t] + state[b if len(state) > 1 else 0]
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: only the positions change."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
