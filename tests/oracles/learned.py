"""A learned vector per absolute position, added to the input.

Paper: Gehring et al. 2017, 'Convolutional Sequence to Sequence Learning', ICML, arXiv 1705.03122,
section 3.1: x_t = w_t + p_t; so used by BERT (arXiv 1810.04805) and GPT-2.
Equation: x_t = E[token_t] + R[pos_t + offset], R of shape [length + offset, D], added unscaled;
the first rows, before position 0, are RoBERTa's and OPT's.
"""

import numpy as np

from tests.oracles import attention


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D], integer pos [B,T] in [0, length) -> x plus the table's rows; else IndexError."""
  out, pos = np.array(x, np.float64), np.asarray(pos)
  table = np.asarray(weights['table_RD'], np.float64)
  offset = args.get('offset', 0)
  assert table.shape == (args['length'] + offset, out.shape[2]), table.shape
  for b in range(out.shape[0]):
    for t in range(out.shape[1]):
      row = int(pos[b, t])
      # NumPy counts a negative row from the end, which no model intends.
      if not 0 <= row < args['length']:
        raise IndexError(f'position {row} outside a table of {args["length"]} rows')
      out[b, t] += table[row + offset]
  return out


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
