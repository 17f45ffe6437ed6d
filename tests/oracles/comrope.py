"""ComRoPE: blocks of channels are multiplied by exp(sum_a p_a theta_aj G_j): one G for each block.

Paper: Yu et al. 2025, 'ComRoPE: Scalable and Robust Rotary Position Embedding Parameterized by
Trainable Commuting Angle Matrices', CVPR 2025, arXiv 2506.03737. 'ap': block j belongs to
coordinate j mod P alone; 'ld': theta_aj is learned.
"""

import numpy as np

from tests.oracles import attention, matrices


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  upper = np.asarray(weights['generator_LKCR'], np.float64)

  def along(j, p):
    if args['kind'] == 'ap':
      return p[j % len(p)]
    return sum(p[a] * float(weights['theta_LPC'][a, j]) for a in range(len(p)))

  def turned(x, pos):
    group = x.shape[2] // upper.shape[0]
    exponent = lambda n, j, p: along(j, p) * matrices.skew(upper[n // group, j], args['block'])
    return matrices.turn(x, pos, exponent, args['block'], args['unit'])

  score = attention.dot(turned(q, q_pos), turned(k, k_pos))
  return attention.attend(score, v, visible, np.shape(q)[2])
