"""Contextual positions: a key's distance counts the keys from it on that pass the query's gate.

Paper: Golovneva et al. 2024, 'Contextual Position Encoding: Learning to Count What's Important',
arXiv 2405.18719: g_ij = sigmoid(q_i . k_j / sqrt(H)), p_ij = min(sum_{m=j..i} g_im, P - 1), and the
bias b_ij is q_i . e[p] interpolated between the integers p around p_ij; e has P rows.
a_ij = (q_i . k_j + b_ij) / sqrt(H) in the authors' code (scaled), q_i . k_j / sqrt(H) + b_ij in
x-transformers. Here m runs over the keys that query i sees, from key j on.
"""

import math

import numpy as np

from tests.oracles import attention


def place(content, k_order, visible, count):
  """The p(b, n, i, j) in [0, count - 1]; content is the scaled q_i . k_j."""

  def p(b, n, i, j):
    later = [m for m in np.flatnonzero(visible[b, i]) if k_order[b, m] >= k_order[b, j]]
    gates = [math.exp(-np.logaddexp(0, -content(b, n, i, m))) for m in later]
    return min(math.fsum(gates), count - 1)

  return p


def bias(q, table, p):
  """q [B,T,N,H], table [H,P], p(b, n, i, j) -> the bias of the logit, scaled as q is."""
  q, table = np.asarray(q, np.float64), np.asarray(table, np.float64)

  def b_ij(b, n, i, j):
    at = p(b, n, i, j)
    low, high = math.floor(at), math.ceil(at)
    z_low, z_high = q[b, i, n] @ table[:, low], q[b, i, n] @ table[:, high]
    return (at - low) * z_high + (1 - at + low) * z_low

  return b_ij


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  heads, size = np.shape(q)[2:]
  assert np.shape(weights['table_LHR']) == (size, args['rows'])
  content = attention.dot(q, k)
  p = place(content, np.asarray(ends[1]['order']), visible, args['rows'])
  added = bias(q, weights['table_LHR'], p)
  # q contains 1/sqrt(H), so the bias has the factor already.
  factor = 1.0 if args['scaled'] else math.sqrt(size)

  def score(b, n, i, j):
    return content(b, n, i, j) + factor * added(b, n, i, j)

  return attention.attend(score, v, visible, heads)
