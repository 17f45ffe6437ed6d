"""A learned vector per clipped distance, added to the keys and to the values.

Paper: Shaw, Uszkoreit, Vaswani 2018, 'Self-Attention with Relative Position Representations',
NAACL, arXiv 1803.02155. Equation (4): a_ij = q_i . (k_j + aK[c]) / sqrt(H); equation (3):
o_i = sum_j softmax_j(a_ij) (v_j + aV[c]); section 3.2: c = clip(j - i, -clip, clip) + clip.
With queries, Huang et al. 2020, 'Improve Transformer Models with Better Relative Position
Embeddings', Findings of EMNLP, arXiv 2009.13658, method 4: a_ij = (q_i . k_j + q_i . aK[c] +
k_j . aK[c]) / sqrt(H).
The tables [2 clip + 1, H] are shared by the heads. Positions are integers.
"""

import math

import numpy as np

from tests.oracles import attention


def row(i, j, clip):
  """Returns the tables' row for query position i and key position j."""
  return int(min(max(j - i, -clip), clip)) + clip


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  heads, size, clip = q.shape[2], q.shape[3], args['clip']
  q_pos, k_pos = np.asarray(q_pos), np.asarray(k_pos)
  keys = np.asarray(weights['keys_LRH'], np.float64)
  assert keys.shape == (2 * clip + 1, size), keys.shape
  content = attention.dot(q, k)
  group = heads // v.shape[2]

  def score(b, n, i, j):
    key = keys[row(q_pos[b, i], k_pos[b, j], clip)]
    a_ij = content(b, n, i, j) + math.fsum(q[b, i, n, c] * key[c] for c in range(size))
    if not args.get('with_queries', False):
      return a_ij
    # q already contains 1/sqrt(H); k does not.
    return a_ij + math.fsum(k[b, j, n // group, c] * key[c] for c in range(size)) / math.sqrt(size)

  if not args['with_values']:
    return attention.attend(score, v, visible, heads)
  values = np.asarray(weights['values_LRH'], np.float64)
  assert values.shape == keys.shape, values.shape

  def value(b, n, i, j):
    return v[b, j, n // group] + values[row(q_pos[b, i], k_pos[b, j], clip)]

  return attention.mix(score, value, visible, heads, size)
