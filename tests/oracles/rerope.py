"""ReRoPE: RoPE up to a window; larger distances equal the window or grow slowly.

Su 2023, bojone/rerope: with d the distance, r = d if d < w, else w (ReRoPE), or w + (d - w) / k
(Leaky ReRoPE). Here 1 / k is `slope`, and 0 for ReRoPE.
"""

import numpy as np

from tests.oracles import remap


def relative(n, m, window, slope):
  """r for a query at n and a key at m."""
  d = n - m
  return d if d < window else window + (d - window) * slope


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  return remap.attend(relative, q, k, v, q_pos, k_pos, visible, args)
