"""No positional encoding.

Paper: Kazemnejad et al. 2023, 'The Impact of Positional Encoding on Length Generalization in
Transformers', NeurIPS, arXiv 2305.19466 (the name); Haviv et al. 2022, arXiv 2203.16634.
Equation: a_ij = q_i . k_j / sqrt(H); only the causal mask tells the order.
"""

import numpy as np

from tests.oracles import attention


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
