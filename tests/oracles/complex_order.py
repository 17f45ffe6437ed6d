"""Complex-order embeddings: a word's embedding is a complex wave of its position.

Paper: Wang et al. 2019, 'Encoding word order in complex embeddings', ICLR 2020, arXiv 1912.12333:
f(w, p)_k = r_wk exp(i (omega_wk p + theta_wk)).
Real form: a token's embedding x of even width D holds D/2 complex numbers r exp(i theta), all real
parts first; f does too. omega is separate for each word [V, D/2] or shared by all words [D/2].
"""

import math

import numpy as np

from tests.oracles import attention


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D], pos [B,T], token numbers ids [B,T] -> f, [B,T,D]."""
  x = np.asarray(x, np.float64)
  half = x.shape[2] // 2
  shared = args['shared']
  table = np.asarray(weights['omega_C' if shared else 'omega_VC'], np.float64)
  out = np.zeros(x.shape)
  for b in range(x.shape[0]):
    for t in range(x.shape[1]):
      omega = table if shared else table[ids[b, t]]
      assert omega.shape == (half,), omega.shape
      for k in range(half):
        real, imaginary = x[b, t, k], x[b, t, half + k]
        r, theta = math.hypot(real, imaginary), math.atan2(imaginary, real)
        phase = omega[k] * pos[b, t] + theta
        out[b, t, k], out[b, t, half + k] = r * math.cos(phase), r * math.sin(phase)
  return out


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
