"""A learned vector for each place of a grid, or for each index of each axis, added to the input.

Papers: Dosovitskiy et al. 2021, 'An Image is Worth 16x16 Words', ICLR, arXiv 2010.11929, section
3.1; factorized: Dehghani et al. 2023, 'Patch n' Pack', NeurIPS, arXiv 2307.06304.
Rows of the first kind are in row-major order. A token at NOWHERE, without a place, gets nothing.
"""

import numpy as np

from tests.oracles import attention

NOWHERE = -(2**24)


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D], integer pos [B,T,P] within the grid -> x plus its rows; else IndexError."""
  out, grid = np.array(x, np.float64), args['grid']
  tables = {name: np.asarray(w, np.float64) for name, w in weights.items()}
  for b in range(out.shape[0]):
    for t in range(out.shape[1]):
      if pos[b, t, 0] == NOWHERE:
        continue
      own = [int(p) for p in pos[b, t]]
      # NumPy counts a negative row from the end, which no model intends.
      if not all(0 <= p < size for p, size in zip(own, grid, strict=True)):
        raise IndexError(f'position {own} outside a grid of {grid}')
      if args['factorized']:
        for axis, p in enumerate(own):
          out[b, t] += tables[f'axis_{axis}_RD'][p]
      else:
        out[b, t] += tables['table_RD'].reshape(*grid, -1)[*own]
  return out


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
