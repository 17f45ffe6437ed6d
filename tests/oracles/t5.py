"""T5's bias: a learned number per head and distance bucket; far buckets are logarithmic.

Paper: Raffel et al. 2020, 'Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer', JMLR, arXiv 1910.10683, section 2.1: a_ij = q_i . k_j + b_n[bucket(j - i)], without
the factor 1/sqrt(H) ('scaled' false; true keeps the factor on the content alone). The paper gives
no formula for the bucket; the authors' code uses, with N buckets per side, E = N/2 and m the
distance: m if m < E, else min(N-1, E + trunc(ln(m/E) / ln(max_distance/E) (N-E))).
A fraction below E is rounded down; from E on m stays a fraction.
GPT-NeoX and x-transformers multiply the table: `bias_scale`.
"""

import math

import numpy as np

from tests.oracles import attention


def bucket(distance, buckets, max_distance, bidirectional):
  """Returns the table's row for `distance`, key minus query position."""
  start, far = 0, max(-distance, 0)
  if bidirectional:
    buckets //= 2
    # The second half is for keys after the query.
    start, far = (buckets if distance > 0 else 0), abs(distance)
  exact = buckets // 2
  if far < exact:
    return start + math.floor(far)
  log = math.log(far / exact) / math.log(max_distance / exact)
  return start + min(buckets - 1, exact + math.trunc(log * (buckets - exact)))


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads, size = np.shape(q)[2:]
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  table = np.asarray(weights['table_RN'], np.float64)
  assert table.shape == (args['buckets'], heads), table.shape
  content = attention.dot(q, k)
  factor = 1.0 if args['scaled'] else math.sqrt(size)
  rule = args['buckets'], args['max_distance'], args['bidirectional']
  times = args.get('bias_scale', 1.0)

  def score(b, n, i, j):
    row = bucket(k_pos[b, j] - q_pos[b, i], *rule)
    return factor * content(b, n, i, j) + times * table[row, n]

  return attention.attend(score, v, visible, heads)
