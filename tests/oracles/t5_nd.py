"""T5's bias on several axes: a learned number per head and distance bucket of each axis, summed.

Paper: Raffel et al. 2020, JMLR, arXiv 1910.10683, section 2.1, on each axis:
a_ij = q_i . k_j / sqrt(H) + sum_a b_an[bucket(p_ja - p_ia)]. On one axis the buckets are those of a
causal model, with one side; on several axes each side has half of them. A token without a place has
the bias 0.
"""

import numpy as np

from tests.oracles import attention, swin, t5


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  axes = np.shape(q_pos)[-1]
  tables = np.asarray(weights['table_PRN'], np.float64)
  assert tables.shape[:2] == (axes, args['buckets']), tables.shape
  content = attention.dot(q, k)

  def score(b, n, i, j):
    total = content(b, n, i, j)
    if swin.class_row(q_pos[b, i], k_pos[b, j]) is not None:
      return total
    for axis in range(axes):
      distance = float(k_pos[b, j, axis]) - float(q_pos[b, i, axis])
      row = t5.bucket(distance, args['buckets'], args['max_distance'], axes > 1)
      total += tables[axis, row, n]
    return total

  return attention.attend(score, v, visible, np.shape(q)[2])
