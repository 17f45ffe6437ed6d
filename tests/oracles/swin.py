"""Swin's bias: a learned number for each head and difference of places within a window.

Paper: Liu et al. 2021, 'Swin Transformer', ICCV, arXiv 2103.14030, equation (4):
a_ij = q_i . k_j / sqrt(H) + B_n[p_i - p_j], without a factor on the bias. The table has a row for
each difference within a window of M_1 x ... x M_P places, 1 - M .. M - 1 on each axis, the last
axis fastest: for two axes (dy + M_1 - 1) (2 M_2 - 1) + dx + M_2 - 1. A single size is for all axes.
A pair whose difference is not in the window has the bias 0.
BEiT (arXiv 2106.08254) appends three rows for a class token, which has no place: for its logits of
tokens, for the tokens' logits of it, and for its own ('class_rows'). Without them, these are 0.
"""

import numpy as np

from tests.oracles import attention

NOWHERE = -(2**24)


def row(i, j, window):
  """Returns the table's row for the places of a query and a key, [P] each; None: it has none."""
  sizes = list(window) * (len(i) // len(window))
  number = 0
  for p_i, p_j, size in zip(i, j, sizes, strict=True):
    difference = int(p_i) - int(p_j)
    if abs(difference) >= size:
      return None
    number = number * (2 * size - 1) + difference + size - 1
  return number


def class_row(i, j):
  """Returns which of the last three rows a pair has, -3 .. -1; None: both tokens have a place."""
  nowhere = i[0] == NOWHERE, j[0] == NOWHERE
  return {(True, False): -3, (False, True): -2, (True, True): -1}.get(nowhere)


def bias(i, j, args, table):
  """Returns the biases of all heads, [N]."""
  last = class_row(i, j)
  if last is not None:
    return table[last] if args['class_rows'] else np.zeros(table.shape[1])
  own = row(i, j, args['window'])
  return np.zeros(table.shape[1]) if own is None else table[own]


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  table = np.asarray(weights['table_LRN'], np.float64)
  content = attention.dot(q, k)

  def score(b, n, i, j):
    return content(b, n, i, j) + bias(q_pos[b, i], k_pos[b, j], args, table)[n]

  return attention.attend(score, v, visible, np.shape(q)[2])
