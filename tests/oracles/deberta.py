"""Disentangled attention: content meets relative positions on either side.

Papers: He et al. 2021, 'DeBERTa: Decoding-enhanced BERT with Disentangled Attention', ICLR,
arXiv 2006.03654, section 3.1: a_ij = (q_i . k_j + q_i . Kr[d(i, j)] + k_j . Qr[d(j, i)]) /
sqrt(3 H), Kr = P W_k and Qr = P W_q for a table P of 2k rows, d(i, j) = 0 for i - j <= -k, 2k - 1
for i - j >= k, else i - j + k. The released code looks up d(i, j) in the third term too
('mirrored' false), and has a bias in Qr. Without one of the terms the factor is 1/sqrt(2 H).
Version 2: He et al. 2021, 'DeBERTaV3', arXiv 2111.09543: i - j is put into B buckets first, k = B.
The released code has, with h = B/2 and m the largest distance: r = i - j if |i - j| <= h, else
sign(i - j) (h + ceil(ln(|i - j| / h) / ln((m - 1) / h) (h - 1))).
"""

import math

import numpy as np

from tests.oracles import attention


def log_bucket(distance, buckets, max_distance):
  """r for `distance`, query minus key position, before the clip."""
  half = buckets // 2
  if abs(distance) <= half:
    return distance
  log = math.log(abs(distance) / half) / math.log((max_distance - 1) / half)
  return int(math.copysign(half + math.ceil(log * (half - 1)), distance))


def row(distance, buckets, max_distance):
  """d for `distance`, query minus key position."""
  k = max_distance
  if buckets:
    k, distance = buckets, log_bucket(distance, buckets, max_distance)
  return min(max(int(distance) + k, 0), 2 * k - 1)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  heads, size = q.shape[2:]
  group = heads // k.shape[2]
  rule = args['buckets'], args['max_distance']
  terms = args['terms'].split('+')
  w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
  table = w['table_RD']
  assert len(table) == 2 * (args['buckets'] or args['max_distance']), table.shape
  q_pos, k_pos = np.asarray(q_pos), np.asarray(k_pos)
  content = attention.dot(q, k)

  def score(b, n, i, j):
    distance = q_pos[b, i] - k_pos[b, j]
    query, key = q[b, i, n], k[b, j, n // group]
    total = content(b, n, i, j)
    if 'c2p' in terms:
      there = table[row(distance, *rule)] @ w['key_LDKH'][:, n // group]
      total += math.fsum(query * there)
    if 'p2c' in terms:
      seen = -distance if args['mirrored'] else distance
      there = table[row(seen, *rule)] @ w['query_LDNH'][:, n] + w['query_bias_LNH'][n]
      # q already contains 1/sqrt(H); k does not.
      total += math.fsum(key * there) / math.sqrt(size)
    return total / math.sqrt(1 + len(terms))

  return attention.attend(score, v, visible, heads)
