"""Untied positions: a correlation of absolute positions next to that of contents.

Paper: Ke, He, Liu 2021, 'Rethinking Positional Encoding in Language Pre-training', ICLR,
arXiv 2006.15595, section 3: a_ij = (q_i . k_j + (p_i U_Q) . (p_j U_K)) / sqrt(2 H), and TUPE-R adds
T5's bias b_n[bucket(j - i)] (Raffel et al. 2020, arXiv 1910.10683), which has no such factor.
Untied from the first token, [CLS]: pairs (i, j) with i at position 0 have theta_1 instead of
position terms; other pairs with j at position 0 have theta_2. theta_1 is constant over the keys of
its query, so the softmax ignores it: it is 0 here.
"""

import math

import numpy as np

from tests.oracles import attention


def bucket(distance, buckets, max_distance, bidirectional):
  """Returns T5's bucket for `distance`, key minus query position."""
  start, far = 0, max(-distance, 0)
  if bidirectional:
    buckets //= 2
    start, far = (buckets if distance > 0 else 0), abs(distance)
  exact = buckets // 2
  if far < exact:
    return start + far
  log = math.log(far / exact) / math.log(max_distance / exact)
  return start + min(buckets - 1, exact + math.trunc(log * (buckets - exact)))


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads, size = np.shape(q)[2:]
  q_pos, k_pos = np.asarray(q_pos), np.asarray(k_pos)
  table, query, key = (
    np.asarray(weights[name], np.float64) for name in ['table_RD', 'query_DNH', 'key_DNH']
  )
  assert len(table) == args['length'], table.shape
  content = attention.dot(q, k)
  rule = args['buckets'], args['max_distance'], args['bidirectional']

  def place(n, i, j):
    if args['untie_first'] and i == 0:
      return 0.0
    if args['untie_first'] and j == 0:
      return weights['theta_N'][n]
    total = math.fsum((table[i] @ query[:, n]) * (table[j] @ key[:, n])) / math.sqrt(2 * size)
    if args['buckets']:
      total += weights['relative']['table_RN'][bucket(j - i, *rule), n]
    return total

  def score(b, n, i, j):
    return content(b, n, i, j) / math.sqrt(2) + place(n, int(q_pos[b, i]), int(k_pos[b, j]))

  return attention.attend(score, v, visible, heads)
