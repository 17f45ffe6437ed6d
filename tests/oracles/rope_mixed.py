"""RoPE-Mixed: pair c of head n rotates by the angle sum_a p_a theta_anc, where theta is learned.

Paper: Heo et al. 2024, 'Rotary Position Embedding for Vision Transformer', ECCV 2024,
arXiv 2403.13298. theta belongs to the key head, which a group of query heads reads. A
token at -2^24 has no place and does not rotate.
"""

import math

import numpy as np

from tests.oracles import attention

NOWHERE = -(2**24)


def turn(x, pos, theta, layout):
  """x [B,L,N,H], pos [B,L,P], theta [P,K,H/2] -> x [B,L,N,H]."""
  out, pos = np.array(x, np.float64), np.asarray(pos, np.float64)
  batch, length, heads, size = out.shape
  axes, key_heads, pairs = theta.shape
  for b, t, n, c in np.ndindex(batch, length, heads, pairs):
    if pos[b, t, 0] == NOWHERE:
      continue
    head = n // (heads // key_heads)
    angle = math.fsum(pos[b, t, a] * theta[a, head, c] for a in range(axes))
    first, second = {'interleaved': (2 * c, 2 * c + 1), 'half': (c, c + size // 2)}[layout]
    z = complex(out[b, t, n, first], out[b, t, n, second])
    z *= complex(math.cos(angle), math.sin(angle))
    out[b, t, n, first], out[b, t, n, second] = z.real, z.imag
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  how = dict(theta=np.asarray(weights['theta_LPKC'], np.float64), layout=args['layout'])
  score = attention.dot(turn(q, q_pos, **how), turn(k, k_pos, **how))
  return attention.attend(score, v, visible, np.shape(q)[2])
