"""Position coupling: tokens with the same role in a sum share a position.

Paper: Cho et al. 2024, 'Position Coupling: Improving Length Generalization of Arithmetic
Transformers Using Task Structure', NeurIPS, arXiv 2405.20671. In the authors' code, operands and
answer reversed: the digit of weight 10^m is at s + 1 + m in each number, '+' and '=' are at s,
tokens outside a sum at 0; s is random in training and 1 otherwise.
"""

import numpy as np

from tests.oracles import attention


def positions(pos, state, args=None, ids=None, segment=None):
  """Ignores pos [B,T]; token ids and segments [B,T] -> integers [B,T]."""
  out = np.zeros(np.shape(pos), np.int64)
  for b in range(out.shape[0]):
    s = int(state.start[b if len(state.start) > 1 else 0])
    last, digits = None, 0  # digits: number of digits of the current number so far
    for t in range(out.shape[1]):
      if segment[b][t] < 0:
        continue
      if segment[b][t] != last:
        last, digits = segment[b][t], 0
      if ids[b][t] in args['digits']:
        out[b, t] = s + 1 + digits
        digits += 1
      else:
        digits = 0
        out[b, t] = s if ids[b][t] in args['operators'] else 0
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: only the positions change."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
