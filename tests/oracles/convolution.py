"""A grouped convolution with weight normalization, whose output is added to the input.

Paper: Baevski et al. 2020, 'wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations', NeurIPS, arXiv 2006.11477: x_t + gelu(b + sum_d W_d x_(t + d - before)),
W_d = g_d V_d / |V_d| with the norm over inputs and outputs, before = kernel // 2. Causal:
before = kernel - 1. Channels see only channels of their group, and tokens only tokens of their
segment.
"""

import math

import numpy as np

from tests.oracles import attention


def gelu(x):
  return x * (1 + math.erf(x / math.sqrt(2))) / 2


def taps(weights):
  """Returns the kernel [kernel, D / groups, D]: taps, inputs of the group, outputs."""
  v, g = np.float64(weights['direction_RHD']), np.float64(weights['gain_R'])
  return np.array([g[d] * v[d] / math.sqrt((v[d] ** 2).sum()) for d in range(len(g))])


def positional(x, segment, args, weights):
  """x [B,T,D], segment [B,T] -> the added output, [B,T,D]."""
  x, w = np.asarray(x, np.float64), taps(weights)
  kernel, inputs, width = w.shape
  assert kernel == args['kernel'] and inputs * args['groups'] == width
  before = kernel - 1 if args['causal'] else kernel // 2
  out = np.zeros(x.shape)
  for b in range(x.shape[0]):
    for t in range(x.shape[1]):
      for c in range(width):
        group = c // inputs * inputs
        terms = [weights['bias_D'][c]]
        for d in range(kernel):
          s = t + d - before
          if 0 <= s < x.shape[1] and segment[b, s] == segment[b, t]:
            terms += [w[d, i, c] * x[b, s, group + i] for i in range(inputs)]
        out[b, t, c] = gelu(math.fsum(terms))
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: `mix` gets the segments."""
  return np.array(x, np.float64)


def mix(x, segment, args, weights):
  """x [B,T,D], segment [B,T] -> x with its neighbours, [B,T,D]."""
  return np.asarray(x, np.float64) + positional(x, segment, args, weights)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
