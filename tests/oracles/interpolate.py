"""Position interpolation: all positions divided by one factor.

Paper: Chen et al. 2023, 'Extending Context Window of Large Language Models via Positional
Interpolation', arXiv 2306.15595: f'(x, m) = f(x, m L / L'), L the trained length, L' a longer one.
"""

import numpy as np

from tests.oracles import attention


def positions(pos, state, args=None, ids=None, segment=None):
  """pos [B,T] -> fractions [B,T]; args['factor'] is L' / L."""
  return np.asarray(pos, np.float64) / args['factor']


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: only the positions change."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
