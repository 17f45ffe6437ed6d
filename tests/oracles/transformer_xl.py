"""Transformer-XL: a projected sinusoid of the distance next to each key, and two learned queries.

Paper: Dai et al. 2019, 'Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context',
ACL, arXiv 1901.02860, section 3.3, terms (a) to (d):
a_ij = ((q_i + u_n) . k_j + (q_i + v_n) . (W_n R_{i-j})) / sqrt(H), where R_r of width D has
R_r[c] = sin(r 10000^(-2c/D)) and R_r[D/2 + c] = cos of the same angle, as in the authors' code.
With a clamp c > 0, r is at most c and at least -c (pos_seq.clamp_ in the authors' code; XLNet's
clamps both ends). One-sided: r is at least 0, as in the released code of arXiv 2305.16843.
"""

import math

import numpy as np

from tests.oracles import attention


def sinusoid(distance, width):
  """R_r: all sines first."""
  assert width % 2 == 0, width
  angles = [distance * 10000.0 ** (-2 * c / width) for c in range(width // 2)]
  return np.array([math.sin(a) for a in angles] + [math.cos(a) for a in angles])


def key(distance, position):
  """W_n R_r for each head: W [D,N,H] -> [N,H]."""
  return np.tensordot(sinusoid(distance, len(position)), position, 1)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q = np.asarray(q, np.float64)
  heads, size = q.shape[2:]
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  # Untied: each layer has its own u and v.
  clamp = args.get('clamp_len', 0)
  own = 'L' if args.get('untied', False) else ''
  position, one, two = (
    np.asarray(weights[name], np.float64)
    for name in ['position_LDNH', f'u_{own}NH', f'v_{own}NH']
  )
  # q already contains 1/sqrt(H); u and v do not.
  content = attention.dot(q + one / math.sqrt(size), k)
  query = q + two / math.sqrt(size)

  def score(b, n, i, j):
    distance = q_pos[b, i] - k_pos[b, j]
    if clamp:
      distance = min(max(distance, -clamp), clamp)
    if args.get('one_sided', False):
      distance = max(distance, 0)
    there = key(distance, position)[n]
    return content(b, n, i, j) + math.fsum(query[b, i, n, c] * there[c] for c in range(size))

  return attention.attend(score, v, visible, heads)
