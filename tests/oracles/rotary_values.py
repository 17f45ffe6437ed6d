"""Rotary values: a value is rotated by its key's position, as RoPE rotates queries and keys.

Paper: Su et al. 2021, 'RoFormer', arXiv 2104.09864, and `rotary_value` of its code: with RoPE's
rotation R_p by the angles p base^(-2c/H), o_i = sum_j a_ij R_j v_j. back=True rotates a query's
output back by the query's position, o_i = sum_j a_ij R_(j - i) v_j, as DeepSeek-V4 does with its
shared keys and values. Layouts: 'interleaved' pairs channels (2c, 2c+1), 'half' pairs (c, c + H/2).
"""

import math

import numpy as np

from tests.oracles import attention


def turn(v, place, base, layout):
  """Returns v [H] rotated by the angles of a position."""
  out, half = np.array(v, np.float64), len(v) // 2
  for c in range(half):
    one, two = {'interleaved': (2 * c, 2 * c + 1), 'half': (c, c + half)}[layout]
    cos, sin = math.cos(place * base ** (-c / half)), math.sin(place * base ** (-c / half))
    out[one], out[two] = v[one] * cos - v[two] * sin, v[one] * sin + v[two] * cos
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  v = np.asarray(v, np.float64)
  heads, size = np.shape(q)[2:]
  group = heads // v.shape[2]

  def value(b, n, i, j):
    place = k_pos[b][j] - (q_pos[b][i] if args['back'] else 0)
    return turn(v[b, j, n // group], place, args['base'], args['layout'])

  return attention.mix(attention.dot(q, k), value, visible, heads, size)
