"""Rotary position embedding: each pair of channels of q and k turns with the position.

Paper: Su et al. 2021, 'RoFormer: Enhanced Transformer with Rotary Position Embedding',
arXiv 2104.09864, equations (14)-(16): a_mn = (R_m q_m) . (R_n k_n), where R_m turns pair c by the
angle m theta_c, theta_c = base^(-2c/d), and d is the rotated width (all of H in the paper).
Layouts: 'interleaved' pairs channels (2c, 2c+1), the paper's; 'half' pairs (c, c + d/2).
"""

import math

import numpy as np

from tests.oracles import attention


def frequencies(width, base):
  """theta_c for the width/2 pairs of `width` rotated channels."""
  return [base ** (-2 * c / width) for c in range(width // 2)]


def rotate(x, pos, base, fraction, layout):
  """x [B,L,N,H] with its first int(H*fraction) channels rotated by pos [B,L]."""
  out, pos = np.array(x, np.float64), np.asarray(pos, np.float64)
  batch, length, heads, size = out.shape
  width = int(size * fraction)
  assert width % 2 == 0, width
  for b in range(batch):
    for t in range(length):
      for c, theta in enumerate(frequencies(width, base)):
        first, second = {'interleaved': (2 * c, 2 * c + 1), 'half': (c, c + width // 2)}[layout]
        cos, sin = math.cos(pos[b, t] * theta), math.sin(pos[b, t] * theta)
        for n in range(heads):
          one, two = out[b, t, n, first], out[b, t, n, second]
          out[b, t, n, first] = one * cos - two * sin
          out[b, t, n, second] = one * sin + two * cos
  return out


def embed(x, pos, args, weights):
  """x [B,T,D] as it is: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  score = attention.dot(rotate(q, q_pos, **args), rotate(k, k_pos, **args))
  return attention.attend(score, v, visible, np.shape(q)[2])
