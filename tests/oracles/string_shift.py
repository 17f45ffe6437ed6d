"""STRING: distances from the shift on restart at the local window, where training was frequent.

Paper: An et al. 2024, 'Why Does the Effective Context Length of LLMs Fall Short?', ICLR 2025,
arXiv 2410.18745: with d the distance, r = d if d < S, else d - S + W.
"""

import numpy as np

from tests.oracles import remap


def relative(n, m, shift, window):
  """r for a query at n and a key at m."""
  d = n - m
  return d if d < shift else d - (shift - window)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  return remap.attend(relative, q, k, v, q_pos, k_pos, visible, args)
