"""Log-spaced continuous position bias: a small network of the difference of two places.

Paper: Liu et al. 2022, 'Swin Transformer V2', CVPR, arXiv 2111.09883, section 3.3; the released
code: a_ij = q_i . k_j / sqrt(H) + 16 sigmoid(f_n(u)), f(u) = W_2 relu(W_1 u + b_1). On each axis
u = sign(x) log2(1 + |x|) / log2(8) with x = 8 (p_i - p_j) / (M - 1), M the size of the window in
training ('pretrained', or else 'window').
timm's 'cr': u = sign(d) ln(1 + |d|) for the difference d, and the bias is f_n(u) + b_n.
'cosine': exp(min(s_n, ln 100)) cos(q_i, k_j) replaces q_i . k_j / sqrt(H).
A pair whose difference is not in the window, or of which a token has no place, has the bias 0.
"""

import math

import numpy as np

from tests.oracles import attention, swin


def spaced(difference, size, form):
  """Returns u on one axis."""
  if form == 'cr':
    return math.copysign(math.log(1 + abs(difference)), difference)
  x = 8 * difference / max(size - 1, 1)
  return math.copysign(math.log2(1 + abs(x)) / 3, x)


def network(i, j, args, weights):
  """Returns the biases of all heads, [N], of places that are in one window."""
  w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
  trained = args['pretrained'] or args['window']
  sizes = list(trained) * (len(i) // len(trained))
  u = [spaced(int(a) - int(b), m, args['form']) for a, b, m in zip(i, j, sizes, strict=True)]
  units = []
  for c in range(args['hidden']):
    z = math.fsum(u[p] * w['hidden_LPC'][p, c] for p in range(len(u)))
    units.append(max(z + w['hidden_bias_LC'][c], 0))
  out = units @ w['output_LCN']
  if args['form'] == 'cr':
    return out + w['output_bias_LN']
  return [16 / (1 + math.exp(-z)) for z in out]


def bias(i, j, args, weights):
  """Returns the biases of all heads, [N]."""
  if swin.class_row(i, j) is not None or swin.row(i, j, args['window']) is None:
    return np.zeros(weights['output_LCN'].shape[1])
  return network(i, j, args, weights)


def unit(x):
  return x / np.maximum(np.sqrt((np.asarray(x, np.float64) ** 2).sum(-1, keepdims=True)), 1e-12)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  factor = np.ones(np.shape(q)[2])
  if args['cosine']:
    q, k = unit(q), unit(k)
    factor = np.exp(np.minimum(weights['log_factor_LN'], math.log(100)))
  content = attention.dot(q, k)

  def score(b, n, i, j):
    return factor[n] * content(b, n, i, j) + bias(q_pos[b, i], k_pos[b, j], args, weights)[n]

  return attention.attend(score, v, visible, np.shape(q)[2])
