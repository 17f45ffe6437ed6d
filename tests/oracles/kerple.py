"""KERPLE: a penalty per head that grows with the logarithm or with a power of the distance.

Paper: Chi et al. 2022, 'KERPLE: Kernelized Relative Positional Embedding for Length
Extrapolation', NeurIPS, arXiv 2205.09921, two parameters per head:
'log' a_ij = q_i . k_j / sqrt(H) - r1 ln(1 + r2 |i - j|), r1, r2 > 0;
'power' a_ij = q_i . k_j / sqrt(H) - r1 |i - j|^r2, r1 > 0, 0 < r2 <= 2.
Equation (1) has the bias inside the 1/sqrt(H); the authors' code, followed here, has not. The code
clamps r1 and r2; here they come from unbounded numbers by softplus, the exponent by twice sigmoid.
"""

import math

import numpy as np

from tests.oracles import attention


def softplus(x):
  return float(np.logaddexp(0.0, x))


def bias(kernel, raw1, raw2, i, j):
  """What a head of these raw parameters adds to the logit of query i and key j."""
  distance, r1 = abs(i - j), softplus(raw1)
  if kernel == 'log':
    return -r1 * math.log(1 + softplus(raw2) * distance)
  assert kernel == 'power', kernel
  return -r1 * distance ** (2 / (1 + math.exp(-raw2)))


def embed(x, pos, args, weights):
  """x [B,T,D] as it is: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads = np.shape(q)[2]
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  raw1, raw2 = (np.asarray(weights[name], np.float64) for name in ['r1_N', 'r2_N'])
  assert raw1.shape == raw2.shape == (heads,), (raw1.shape, raw2.shape)
  content = attention.dot(q, k)

  def score(b, n, i, j):
    return content(b, n, i, j) + bias(args['kernel'], raw1[n], raw2[n], q_pos[b, i], k_pos[b, j])

  return attention.attend(score, v, visible, heads)
