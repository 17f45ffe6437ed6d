"""KERPLE: a penalty per head that grows with the logarithm or with a power of the distance.

Paper: Chi et al. 2022, 'KERPLE: Kernelized Relative Positional Embedding for Length
Extrapolation', NeurIPS, arXiv 2205.09921, parameters of each head:
'log' a_ij = q_i . k_j / sqrt(H) - r1 ln(1 + r2 |i - j|), r1, r2 > 0;
'log3' a_ij = q_i . k_j / sqrt(H) - r1 ln(1 + r2 |i - j|^r3), 0 < r3 <= 2;
'power' a_ij = q_i . k_j / sqrt(H) - r1 |i - j|^r2, r1 > 0, 0 < r2 <= 2;
'weighted' a_ij = exp(-r3 |i - j|^r4) q_i . k_j / sqrt(H) - r1 |i - j|^r2, r3 > 0, 0 < r4 <= 2.
Equation (1) has the bias inside the 1/sqrt(H); the authors' code, followed here, has not. The code
clamps them; here they come from unbounded numbers by softplus, the exponents by twice sigmoid.
"""

import math

import numpy as np

from tests.oracles import attention


def softplus(x):
  return float(np.logaddexp(0.0, x))


def exponent(raw):
  return 2 / (1 + math.exp(-raw))


def bias(kernel, raw1, raw2, i, j, raw3=None):
  """Returns the bias of a head with these raw parameters on the logit of query i and key j."""
  distance, r1 = abs(i - j), softplus(raw1)
  if kernel == 'log':
    return -r1 * math.log(1 + softplus(raw2) * distance)
  if kernel == 'log3':
    return -r1 * math.log(1 + softplus(raw2) * distance ** exponent(raw3))
  assert kernel in ('power', 'weighted'), kernel
  return -r1 * distance ** exponent(raw2)


def weight(raw3, raw4, i, j):
  """Returns the factor of 'weighted' on the content logit."""
  return math.exp(-softplus(raw3) * abs(i - j) ** exponent(raw4))


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads = np.shape(q)[2]
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  kernel, content = args['kernel'], attention.dot(q, k)
  names = [f'r{i}_N' for i in range(1, {'log3': 3, 'weighted': 4}.get(kernel, 2) + 1)]
  raw = [np.asarray(weights[name], np.float64) for name in names]
  assert all(r.shape == (heads,) for r in raw), [r.shape for r in raw]

  def score(b, n, i, j):
    raw1, raw2, *more = (r[n] for r in raw)
    ends = q_pos[b, i], k_pos[b, j]
    if kernel == 'weighted':
      return weight(*more, *ends) * content(b, n, i, j) + bias(kernel, raw1, raw2, *ends)
    return content(b, n, i, j) + bias(kernel, raw1, raw2, *ends, *more)

  return attention.attend(score, v, visible, heads)
