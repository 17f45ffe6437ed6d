"""Code shared by rotary encodings with remapped distances: each pair has its own distance.

a_ij = (R(r) q_i) . k_j, where R rotates pair c of the first d = H fraction channels by r theta_c,
theta_c = base^(-2c/d), and the encoding computes r from the two positions. Keys are not rotated.
Layouts: 'interleaved' pairs channels (2c, 2c+1), 'half' pairs (c, c + d/2).
"""

import math

import numpy as np

from tests.oracles import attention


def turned(x, r, base, fraction, layout):
  """R(r) x of one head, x [H]."""
  out, width = np.array(x), int(len(x) * fraction)
  assert width % 2 == 0, width
  for c in range(width // 2):
    one, two = {'interleaved': (2 * c, 2 * c + 1), 'half': (c, c + width // 2)}[layout]
    angle = r * base ** (-2 * c / width)
    out[one] = x[one] * math.cos(angle) - x[two] * math.sin(angle)
    out[two] = x[one] * math.sin(angle) + x[two] * math.cos(angle)
  return out


def attend(relative, q, k, v, q_pos, k_pos, visible, args):
  """`relative(n, m, …)` returns r of a query at n and a key at m; it gets `args` without R's."""
  rotary = {name: args[name] for name in ('base', 'fraction', 'layout')}
  own = {name: value for name, value in args.items() if name not in rotary}
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  heads = q.shape[2]
  group = heads // k.shape[2]

  def score(b, n, i, j):
    r = relative(q_pos[b, i], k_pos[b, j], **own)
    return math.fsum(turned(q[b, i, n], r, **rotary) * k[b, j, n // group])

  return attention.attend(score, v, visible, heads)
