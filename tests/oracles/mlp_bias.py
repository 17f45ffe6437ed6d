"""Dynamic position bias: a small network of the distance gives each head's bias.

Paper: Wang et al. 2022, 'CrossFormer', ICLR, arXiv 2108.00154, defines it for patches of images;
for text, as in x-transformers' DynamicPositionBias:
a_ij = q_i . k_j / sqrt(H) + f_n(i - j), or of sign(i - j) ln(1 + |i - j|) ('log').
f is `depth` hidden layers of `width` with silu, and a linear one. With 'norm' a LayerNorm (epsilon
1e-5) comes between each hidden layer's sum and its silu; the first has a gain and no offset.
"""

import math

import numpy as np

from tests.oracles import attention


def silu(z):
  return z / (1 + math.exp(-z))


def layer_norm(z, gain, shift):
  mean = math.fsum(z) / len(z)
  deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in z) / len(z) + 1e-5)
  return [g * (x - mean) / deviation + s for x, g, s in zip(z, gain, shift, strict=True)]


def network(distance, args, weights):
  """Returns the biases of all heads, [N], at the distance of a query from a key."""
  w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
  width = args['width']
  x = [math.copysign(math.log1p(abs(distance)), distance) if args['log'] else distance]
  for layer in range(args['depth']):
    matrix = w[f'hidden{layer}_RC'] if layer else w['input_R'][None]
    z = [math.fsum(x[r] * matrix[r, c] for r in range(len(x))) for c in range(width)]
    z = [z[c] + w[f'bias{layer}_R'][c] for c in range(width)]
    if args['norm']:
      shift = w[f'shift{layer}_R'] if layer else [0.0] * width
      z = layer_norm(z, w[f'gain{layer}_R'], shift)
    x = [silu(c) for c in z]
  out, last = w['output_RN'], w['output_bias_N']
  return [math.fsum(x[r] * out[r, n] for r in range(width)) + last[n] for n in range(len(last))]


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  content = attention.dot(q, k)

  def score(b, n, i, j):
    return content(b, n, i, j) + network(float(q_pos[b][i]) - float(k_pos[b][j]), args, weights)[n]

  return attention.attend(score, v, visible, np.shape(q)[2])
