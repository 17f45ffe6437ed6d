"""RoPE++: of two query heads with one query and one key, one scores with the imaginary part.

Paper: Liu et al. 2025, 'Beyond Real: Imaginary Extension of Rotary Position Embeddings for
Long-Context LLMs', ICLR 2026, arXiv 2512.07525, the form with as many heads (EH). With the pairs
(c, c + H/2) of channels as complex numbers and z = sum_c q_c conj(k_c) e^(j (n - m) theta_c), for a
query at n, a key at m and theta_c = base^(-2c/H), a real head's logit is Re z, RoPE's. The
imaginary head's logit uses the same query rotated back by a right angle, sum_c q_c e^(-j pi/2) ...:
Re(-j z) = Im z. Among the heads 0, 1, 2, ... of one key head, 1 is the imaginary one of 0, 3 of 2.
"""

import math

import numpy as np

from tests.oracles import attention


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def parts(q, k, distance, base):
  """q [H] and k [H] -> (Re z, Im z); `distance` is query minus key position."""
  half = len(q) // 2
  real, imaginary = [], []
  for c in range(half):
    query, key = complex(q[c], q[c + half]), complex(k[c], k[c + half])
    angle = distance * base ** (-c / half)
    z = query * key.conjugate() * complex(math.cos(angle), math.sin(angle))
    real.append(z.real)
    imaginary.append(z.imag)
  return math.fsum(real), math.fsum(imaginary)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  heads = q.shape[2]
  group = heads // k.shape[2]

  def score(b, n, i, j):
    imaginary = n % group % 2
    both = parts(
      q[b, i, n - imaginary], k[b, j, n // group], q_pos[b, i] - k_pos[b, j], args['base']
    )
    return both[imaginary]

  return attention.attend(score, v, visible, heads)
