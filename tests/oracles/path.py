"""PaTH attention: every token between key and query applies its own Householder-like matrix.

Paper: Yang et al. 2025, 'PaTH Attention: Position Encoding via Accumulating Householder
Transformations', NeurIPS, arXiv 2505.16381: a_ij = q_i . (H_i H_{i-1} ... H_{j+1}) k_j / sqrt(H),
with H_t = I - beta_t w_t w_t^T and beta_t = 2 sigmoid(u . x_t + b); w_t has length 1 and comes from
x_t by a projection of low rank, a causal convolution of three taps per channel and SiLU. w and beta
are the key head's. Here the product runs over the keys that query i sees and that come after key j.
"""

import math

import numpy as np

from tests.oracles import attention


def directions(x, segment, weights):
  """x [B,S,D], segment [B,S] -> w [B,S,K,H]."""
  x, segment = np.asarray(x, np.float64), np.asarray(segment)
  down, up, taps = (
    np.asarray(weights[name], np.float64) for name in ['down_LDR', 'up_LRKH', 'taps_LRKH']
  )
  out = np.zeros((*x.shape[:2], *up.shape[1:]))
  for b in range(x.shape[0]):
    for t in range(x.shape[1]):
      y = np.zeros(up.shape[1:])
      for back in range(3):
        # The convolution does not reach into another document.
        if t - back >= 0 and segment[b, t - back] == segment[b, t]:
          y += taps[2 - back] * np.tensordot(x[b, t - back] @ down, up, 1)
      a = y * np.exp(-np.logaddexp(0, -y))  # SiLU
      for head in range(len(a)):
        out[b, t, head] = a[head] / math.sqrt(math.fsum(a[head] ** 2) + 1e-6)
  return out


def strengths(x, weights):
  """x [B,S,D] -> beta [B,S,K] in (0, 2)."""
  x, weight = np.asarray(x, np.float64), np.asarray(weights['beta_LDK'], np.float64)
  return 2 * np.exp(-np.logaddexp(0, -(x @ weight + weights['beta_bias_LK'])))


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the matrices enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  heads, size = q.shape[2:]
  assert np.shape(weights['down_LDR'])[1] == args['rank']
  group = heads // k.shape[2]
  x, order, segment = (np.asarray(ends[1][name]) for name in ['x', 'order', 'segment'])
  w, beta = directions(x, segment, weights), strengths(x, weights)

  def score(b, n, i, j):
    head = n // group
    after = [m for m in np.flatnonzero(visible[b, i]) if order[b, m] > order[b, j]]
    product = np.eye(size)
    for m in sorted(after, key=lambda m: -order[b, m]):
      product = product @ (np.eye(size) - beta[b, m, head] * np.outer(w[b, m, head], w[b, m, head]))
    return q[b, i, n] @ product @ k[b, j, head]

  return attention.attend(score, v, visible, heads)
