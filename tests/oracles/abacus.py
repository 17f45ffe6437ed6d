"""Abacus embeddings: a learned vector for the index of a digit within its number.

Paper: McLeish et al. 2024, 'Transformers Can Do Arithmetic with the Right Embeddings', NeurIPS,
arXiv 2405.17399: the c-th digit of a number, c = 1, 2, ..., has row c + k of a table, any other
token row 0. k is uniform on 0, ..., k_max for each training batch, and 0 otherwise. Numbers are
written with the least significant digit first. Positions do not change.
"""

import numpy as np

from tests.oracles import attention


def places(ids, segment, digits):
  """Token ids and segments [T] -> the index of each digit within its number, 0 for others."""
  out, last, count = [], None, 0
  for token, document in zip(ids, segment, strict=True):
    if document < 0:
      # Padding is not a token.
      out.append(0)
      continue
    if document != last:
      count = 0
    last = document
    count = count + 1 if token in digits else 0
    out.append(count)
  return out


def positions(pos, state, args=None, ids=None, segment=None):
  """pos [B,T] -> [B,T,2]: pos, and the row of the table."""
  out = np.zeros((*np.shape(pos), 2))
  for b in range(out.shape[0]):
    for t, place in enumerate(places(ids[b], segment[b], args['digits'])):
      row = place + int(state.offset[0]) if place else 0
      out[b, t] = pos[b, t], min(row, args['length'] - 1)
  return out


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D], pos [B,T,2] of `positions` -> x plus the table's rows."""
  out, table = np.array(x, np.float64), np.asarray(weights['table_RD'], np.float64)
  for b in range(out.shape[0]):
    for t in range(out.shape[1]):
      out[b, t] += table[int(pos[b, t, 1])]
  return out


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
