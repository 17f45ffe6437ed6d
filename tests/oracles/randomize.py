"""Randomized positions: sorted random integers from a long range in place of 0, 1, 2, ...

Paper: Ruoss et al. 2023, 'Randomized Positional Encodings Boost Length Generalization of
Transformers', ACL, arXiv 2305.16843: distinct integers, drawn uniformly from 0, ..., limit - 1 and
sorted, are the positions for the encoding that follows; token p gets the p-th integer.
"""

import numpy as np

from tests.oracles import attention


def positions(pos, draw, args=None, ids=None, segment=None):
  """Integers pos [B,T], sorted distinct integers draw [1 or B,C] -> integers [B,T]."""
  pos, draw = np.asarray(pos), np.asarray(draw)
  out = np.zeros(pos.shape, draw.dtype)
  for b in range(pos.shape[0]):
    row = draw[b if len(draw) > 1 else 0]
    for t in range(pos.shape[1]):
      index = int(pos[b, t])
      assert index == pos[b, t], pos[b, t]
      # NumPy counts a negative index from the end, which no model intends.
      if not 0 <= index < len(row):
        raise IndexError(f'position {index} outside a draw of {len(row)}')
      out[b, t] = row[index]
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: only the positions change."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
