"""WavLM's gated bias: a learned number per head and bucket of distances, times a gate per query.

Paper: Chen et al. 2021, 'WavLM', IEEE JSTSP 2022, arXiv 2110.13900; as in its released code:
a_ij = q_i . k_j / sqrt(H) + g_in b_n[bucket(j - i)], T5's buckets for both sides.
With y = W x_in + u, 8 numbers, of the head's H channels x_in of the layer's input (before any
projection; W and u are shared by the heads): s = sigmoid(y_0 + .. + y_3),
t = sigmoid(y_4 + .. + y_7), g = s (t c_n - 1) + 2, c_n learned.
"""

import math

import numpy as np

from tests.oracles import attention


def bucket(distance, buckets, max_distance):
  """Returns the table's row for `distance`, key minus query position: T5's, half for each side."""
  side = buckets // 2
  # The second half is for keys after the query.
  start, far, exact = side if distance > 0 else 0, abs(distance), side // 2
  if far < exact:
    return start + math.floor(far)
  log = math.log(far / exact) / math.log(max_distance / exact)
  return start + min(side - 1, exact + math.trunc(log * (side - exact)))


def sigmoid(z):
  return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


def gate(x, head, weights):
  """Returns g of a query with input x [D], in head `head`."""
  names = ['gate_LRH', 'gate_bias_LR', 'constant_LN']
  w, u, constant = (np.asarray(weights[name], np.float64) for name in names)
  assert w.shape[0] == 8 and len(x) == w.shape[1] * len(constant), w.shape
  size = w.shape[1]
  own = x[head * size : (head + 1) * size]
  y = [math.fsum(w[r, c] * own[c] for c in range(size)) + u[r] for r in range(8)]
  s, t = sigmoid(math.fsum(y[:4])), sigmoid(math.fsum(y[4:]))
  return s * (t * constant[head] - 1) + 2


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  x, content = np.asarray(ends[0]['x'], np.float64), attention.dot(q, k)
  table = np.asarray(weights['table_RN'], np.float64)
  assert table.shape[0] == args['buckets'], table.shape

  def score(b, n, i, j):
    row = bucket(k_pos[b, j] - q_pos[b, i], args['buckets'], args['max_distance'])
    return content(b, n, i, j) + gate(x[b, i], n, weights) * table[row, n]

  return attention.attend(score, v, visible, np.shape(q)[2])
