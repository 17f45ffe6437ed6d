"""Bilevel positions: the index of a token in its sentence, and the index of the sentence.

Paper: He et al. 2024, 'Two Stones Hit One Bird: Bilevel Positional Encoding for Better Length
Extrapolation', ICML, arXiv 2401.16421. A text is cut after each separator. A token with a tokens
before it in its sentence gets row min(a, R-1) of a table added; g, the number of sentences that
ended before it, is the position for a relative encoding. The authors' ALiBi has 96 times the usual
slopes, which equals 96 g instead of g.
"""

import numpy as np

from tests.oracles import attention


def bilevel(ids, segment, separators):
  """Token ids and segments [T] -> (g, a) of each token, (0, 0) for padding."""
  out, last, g, a = [], None, 0, 0  # g, a: of the next token
  for token, document in zip(ids, segment, strict=True):
    if document < 0:
      out.append((0, 0))
      continue
    if document != last:
      last, g, a = document, 0, 0
    out.append((g, a))
    g, a = (g + 1, 0) if token in separators else (g, a + 1)
  return out


def positions(pos, state, args=None, ids=None, segment=None):
  """Ignores pos [B,T]; token ids and segments [B,T] -> integers [B,T,2], step g and a."""
  rows = [bilevel(*row, args['separators']) for row in zip(ids, segment, strict=True)]
  return np.array(rows) * [args['step'], 1]


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D], pos [B,T,2] of `positions` -> x plus the table's rows."""
  out, table = np.array(x, np.float64), np.asarray(weights['table_RD'], np.float64)
  for b in range(out.shape[0]):
    for t in range(out.shape[1]):
      out[b, t] += table[min(pos[b, t, 1], args['length'] - 1)]
  return out


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
