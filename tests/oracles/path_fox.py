"""PaTH attention with forget gates: matrices and gates of all tokens between key and query.

Papers: Yang et al. 2025, 'PaTH Attention: Position Encoding via Accumulating Householder
Transformations', NeurIPS, arXiv 2505.16381; Lin et al. 2025, 'Forgetting Transformer: Softmax
Attention with a Forget Gate', ICLR, arXiv 2503.02130. In the authors' code (fla-org/
flash-linear-attention, ops/path_attn) a_ij = (q_i . (H_i H_{i-1} ... H_{j+1}) k_j +
sum_{m=j+1..i} log f_m) / sqrt(H), with H_t = I - beta_t w_t w_t^T, beta_t = 2 sigmoid(u . x_t + b)
and f_t = sigmoid(g . x_t + c); w_t has length 1 and comes from x_t by a projection of low rank, a
causal convolution of three taps per channel and SiLU. w and beta are the key head's, f is the query
head's. Here m runs over the keys that query i sees and that come after key j.
"""

import math

import numpy as np

from tests.oracles import attention


def sigmoid(x):
  return np.exp(-np.logaddexp(0, -x))


def direction(x, segment, t, down, up, taps):
  """w of the token t of a row, x [S,D] -> [K,H]."""
  y = np.zeros(up.shape[1:])
  for back in range(3):
    # The convolution does not reach into another document.
    if t - back >= 0 and segment[t - back] == segment[t]:
      y += taps[2 - back] * np.tensordot(x[t - back] @ down, up, 1)
  a = y * sigmoid(y)
  return a / np.sqrt((a**2).sum(-1, keepdims=True) + 1e-6)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: matrices and gates enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  heads, size = q.shape[2:]
  group = heads // k.shape[2]
  x, order, segment = (np.asarray(ends[1][name]) for name in ['x', 'order', 'segment'])
  projections = [np.asarray(weights[name]) for name in ['down_LDR', 'up_LRKH', 'taps_LRKH']]
  assert projections[0].shape[1] == args['rank']
  beta = 2 * sigmoid(x @ weights['beta_LDK'] + weights['beta_bias_LK'])
  gate = x @ weights['fox']['gate_LDN'] + weights['fox']['gate_bias_LN']
  w = [
    [direction(x[b], segment[b], t, *projections) for t in range(x.shape[1])] for b in range(len(x))
  ]

  def score(b, n, i, j):
    head = n // group
    after = [m for m in np.flatnonzero(visible[b, i]) if order[b, m] > order[b, j]]
    product = np.eye(size)
    for m in sorted(after, key=lambda m: -order[b, m]):
      w_m = w[b][m][head]
      product = product @ (np.eye(size) - beta[b, m, head] * np.outer(w_m, w_m))
    forgotten = math.fsum(-np.logaddexp(0, -gate[b, m, n]) for m in after)
    return q[b, i, n] @ product @ k[b, j, head] + forgotten / math.sqrt(size)

  return attention.attend(score, v, visible, heads)
