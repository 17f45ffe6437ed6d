"""Stick-breaking attention: each key, from the nearest on, breaks off a part of the remainder.

Paper: Tan et al. 2025, 'Scaling Stick-Breaking Attention', ICLR, arXiv 2410.17980:
A_ij = beta_ij prod_{j<m<i} (1 - beta_im), beta_ij = sigmoid(q_i . k_j / sqrt(H)), and
o_i = sum_j A_ij v_j over the keys before the query, without softmax. With the remainder, as in the
authors' code, the rest of the stick goes to the query's own value: o_i + r_i v_i,
r_i = prod_{m<i} (1 - beta_im).
Here j and m run over the keys that query i sees and that come before it.
"""

import math

import numpy as np

from tests.oracles import attention


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the order of the keys enters in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  v = np.asarray(v, np.float64)
  q_order, k_order = (np.asarray(end['order']) for end in ends)
  content = attention.dot(q, k)
  batch, queries, heads, _ = np.shape(q)
  group = heads // v.shape[2]
  # In cross-attention a query has no own value, so the remainder is dropped.
  own = ends[0].get('v') if args['remainder'] else None
  out = np.zeros((batch, queries, heads, v.shape[3]))
  for b in range(batch):
    for n in range(heads):
      for i in range(queries):
        before = [j for j in np.flatnonzero(visible[b, i]) if k_order[b, j] < q_order[b, i]]
        beta = {j: math.exp(-np.logaddexp(0, -content(b, n, i, j))) for j in before}
        for j in before:
          left = math.prod(1 - beta[m] for m in before if k_order[b, m] > k_order[b, j])
          out[b, i, n] += beta[j] * left * v[b, j, n // group]
        if own is not None:
          out[b, i, n] += math.prod(1 - beta[m] for m in before) * own[b, i, n // group]
  return out
