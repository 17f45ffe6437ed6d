"""Dual Chunk Attention: positions within chunks, and no distance beyond those of training.

Paper: An et al. 2024, 'Training-Free Long-Context Scaling of Large Language Models', ICML,
arXiv 2402.17463; as in the authors' code, HKUNLP/ChunkLlama. Chunk size s, local window w,
c = s - w; a key at m gets position m mod c. A query at n gets position n mod c for keys of its
chunk, min(n mod c + c, s) for keys of the chunk before, and min(2c - 1, s) for earlier keys. Keys
of a later chunk, which the paper does not have, are treated like keys of the same chunk.
"""

import math

import numpy as np

from tests.oracles import remap


def relative(n, m, chunk, window):
  """r for a query at n and a key at m."""
  c = chunk - window
  (q_chunk, q_rest), (k_chunk, k_rest) = apart(n, c), apart(m, c)
  before = q_chunk - k_chunk
  if before <= 0:
    return q_rest - k_rest
  if before == 1:
    return min(q_rest + c, chunk) - k_rest
  return min(2 * c - 1, chunk) - k_rest


def apart(p, c):
  """Returns the chunk of c positions that holds p, and the index of p in it."""
  which = math.floor(p / c)
  return which, p - which * c


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  return remap.attend(relative, q, k, v, q_pos, k_pos, visible, args)
