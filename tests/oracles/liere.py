"""LieRE: blocks of channels of q and k are multiplied by exp(sum_a p_a G_a), G_a skew-symmetric.

Paper: Ostmeier et al. 2024, 'LieRE: Lie Rotational Positional Encodings', arXiv 2406.10322.
Generators G_a belong to a block of a key head; the weight has their entries above the diagonal, row
by row.
"""

import numpy as np

from tests.oracles import attention, matrices


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  upper = np.asarray(weights['generator_LPKCR'], np.float64)
  key_heads = upper.shape[1]

  def turned(x, pos):
    group = x.shape[2] // key_heads
    return matrices.turn(
      x, pos, lambda n, j, p: sum(
        p[a] * matrices.skew(upper[a, n // group, j], args['block']) for a in range(len(p))
      ),
      args['block'], args['unit'],
    )

  score = attention.dot(turned(q, q_pos), turned(k, k_pos))
  return attention.attend(score, v, visible, np.shape(q)[2])
