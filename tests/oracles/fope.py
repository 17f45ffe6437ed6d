"""FoPE: a plane of q and k is rotated by a Fourier series of the position, not one frequency.

Paper: Hua et al. 2024, 'Fourier Position Embedding: Enhancing Attention's Periodic Extension for
Length Generalization', ICML 2025, arXiv 2412.17739, in the form of the authors' code. Of RoPE's
frequencies the R with theta_r = base^(-2r/H) >= 2 pi / length are kept: they complete a rotation
within the trained length. Plane c < C = min(R, H/4) has for each key head
  cos_c(p) = sum_r A_rc cos(p theta_r)    sin_c(p) = sum_r B_rc sin(p theta_r)
and channels (c, c + H/2) become x cos_c - y sin_c, y cos_c + x sin_c. A and B are fixed: an
identity with strides, row c ceil(R/C) of column c, plus normal numbers of the deviation
sigma sqrt(2 / (C (R + K))), which is Xavier's for an array [K, R, C]. All other planes have
cos = sin = 1 in the authors' code (rest='ones'), cos = 1 and sin = 0 in the text (rest='identity').
"""

import math

import numpy as np

from tests.oracles import attention


def frequencies(width, base, length):
  """Returns the frequencies of the width/2 planes that rotate at least once within `length`."""
  all_of_them = [base ** (-2 * r / width) for r in range(width // 2)]
  return [theta for theta in all_of_them if theta >= 2 * math.pi / length]


def coefficients(heads, rows, columns, sigma, seed):
  """Returns A and B, [heads, rows, columns] each."""
  deviation = sigma * math.sqrt(2 / (columns * (rows + heads)))
  noise = np.random.default_rng(seed).normal(size=(2, heads, rows, columns))
  out = np.zeros(noise.shape)
  for which in range(2):
    for n in range(heads):
      for r in range(rows):
        for c in range(columns):
          one = float(r == c * math.ceil(rows / columns))
          out[which, n, r, c] = one + deviation * noise[which, n, r, c]
  return out


def series(position, theta, a, b, planes, rest):
  """Returns cos_c and sin_c of one head at one position, for all `planes`."""
  rows, columns = a.shape
  pairs = []
  for c in range(planes):
    if c < columns:
      cos = math.fsum(a[r, c] * math.cos(position * theta[r]) for r in range(rows))
      sin = math.fsum(b[r, c] * math.sin(position * theta[r]) for r in range(rows))
      pairs.append((cos, sin))
    else:
      pairs.append({'ones': (1.0, 1.0), 'identity': (1.0, 0.0)}[rest])
  return pairs


def turn(x, pos, theta, both, rest):
  """Returns x [B,L,N,H] with each plane rotated; `both` are A and B of the key heads."""
  x, pos = np.asarray(x, np.float64), np.asarray(pos, np.float64)
  batch, length, heads, size = x.shape
  out = np.zeros_like(x)
  for b in range(batch):
    for t in range(length):
      for n in range(heads):
        head = n // (heads // both.shape[1])
        pairs = series(pos[b, t], theta, both[0, head], both[1, head], size // 2, rest)
        for c, (cos, sin) in enumerate(pairs):
          one, two = x[b, t, n, c], x[b, t, n, c + size // 2]
          out[b, t, n, c] = one * cos - two * sin
          out[b, t, n, c + size // 2] = two * cos + one * sin
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  size, key_heads = np.shape(q)[3], np.shape(k)[2]
  theta = frequencies(size, args['base'], args['length'])
  columns = min(len(theta), size // 4)
  both = coefficients(key_heads, len(theta), columns, args['sigma'], args['seed'])
  how = dict(theta=theta, both=both, rest=args['rest'])
  score = attention.dot(turn(q, q_pos, **how), turn(k, k_pos, **how))
  return attention.attend(score, v, visible, np.shape(q)[2])
