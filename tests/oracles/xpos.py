"""xPos: rotary embedding whose pairs also decay with the distance.

Paper: Sun et al. 2022, 'A Length-Extrapolatable Transformer', ACL 2023, arXiv 2212.10554:
pair c of q (position n) and of k (position m), rotated as in RoPE by theta_c = base^(-2c/H), is
scaled by zeta_c^(n/scale_base) and zeta_c^(-m/scale_base), zeta_c = (2c/H + gamma) / (1 + gamma).
The product then depends on n - m alone, and is computed from it here: separate factors overflow at
large positions. Pairs are channels (2c, 2c+1). A key after its query grows.
"""

import math

import numpy as np

from tests.oracles import attention


def product(q, k, distance, base, scale_base, gamma):
  """q [H] and k [H] -> their rotated and scaled product; `distance` is query minus key position."""
  size = len(q)
  assert size % 2 == 0, size
  terms = []
  for c in range(size // 2):
    angle = distance * base ** (-2 * c / size)
    decay = ((2 * c / size + gamma) / (1 + gamma)) ** (distance / scale_base)
    (a, b), (x, y) = q[2 * c : 2 * c + 2], k[2 * c : 2 * c + 2]
    # (a, b) rotated by the angle, times (x, y).
    terms += [
      decay * (a * math.cos(angle) - b * math.sin(angle)) * x,
      decay * (a * math.sin(angle) + b * math.cos(angle)) * y,
    ]
  return math.fsum(terms)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  heads = q.shape[2]
  group = heads // k.shape[2]

  def score(b, n, i, j):
    return product(q[b, i, n], k[b, j, n // group], q_pos[b, i] - k_pos[b, j], **args)

  return attention.attend(score, v, visible, heads)
