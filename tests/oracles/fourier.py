"""Learned Fourier features of positions, through a network of two layers, added to the input.

Paper: Li et al. 2021, 'Learnable Fourier Features for Multi-Dimensional Spatial Positional
Encoding', NeurIPS, arXiv 2106.02795, algorithm 1: r = [cos(p w), sin(p w)] / sqrt(|F|) with |F|/2
frequencies w, PE = gelu(r W1 + b1) W2 + b2. Here p is one number; GELU is exact, with erf.
"""

import math

import numpy as np

from tests.oracles import attention


def features(p, frequencies):
  """[2 len(frequencies)], the cosines first."""
  angles = [p * w for w in frequencies]
  parts = [*map(math.cos, angles), *map(math.sin, angles)]
  return [part / math.sqrt(len(parts)) for part in parts]


def gelu(x):
  return x * (1 + math.erf(x / math.sqrt(2))) / 2


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D], pos [B,T], any numbers -> x plus the network of each position."""
  out = np.array(x, np.float64)
  first, second = np.float64(weights['first_RC']), np.float64(weights['second_CD'])
  assert first.shape == (args['size'], args['hidden']), first.shape
  for b in range(out.shape[0]):
    for t in range(out.shape[1]):
      r = features(float(pos[b, t]), weights['frequency_R'])
      hidden = [
        gelu(math.fsum(r[i] * first[i, h] for i in range(len(r))) + weights['first_bias_C'][h])
        for h in range(args['hidden'])
      ]
      for d in range(out.shape[2]):
        out[b, t, d] += math.fsum(a * w for a, w in zip(hidden, second[:, d], strict=True))
        out[b, t, d] += weights['second_bias_D'][d]
  return out


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
