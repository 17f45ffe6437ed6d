"""HeadScale: the logits of each head of each layer are multiplied by a learned number.

Paper: Wang et al. 2024, 'Length Generalization of Causal Transformers without Position Encoding',
arXiv 2404.12224: a_ij = s_n q_i . k_j in head n.
"""

import numpy as np

from tests.oracles import attention


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: positions do not enter at all."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  content, scale = attention.dot(q, k), np.asarray(weights['scale_LN'], np.float64)
  assert scale.shape == np.shape(q)[2:3], scale.shape
  score = lambda b, n, i, j: scale[n] * content(b, n, i, j)
  return attention.attend(score, v, visible, np.shape(q)[2])
