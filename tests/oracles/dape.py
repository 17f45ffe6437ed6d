"""Data-adaptive positions: a small network over the heads refines logits and a static bias.

Paper: Zheng et al. 2024, 'DAPE: Data-Adaptive Positional Encoding for Length Extrapolation',
NeurIPS, arXiv 2405.14722: the logits are A + B + F, F = MLP([A; B]) for each pair (i, j) from all N
heads to all N heads, A = q_i . k_j / sqrt(H), B the static bias; Linear, LeakyReLU, Linear.
Bases: ALiBi (arXiv 2108.12409, bias_max 8), KERPLE-log (arXiv 2205.09921), FIRE (arXiv 2310.04418).
"""

import math

import numpy as np

from tests.oracles import attention


def alibi(heads, weights, bias_max=8.0):
  """The bias(n, i, j) = -m_n |i - j|, m_n = 2^(-bias_max n/N), n = 1..N."""
  count = 2 ** math.floor(math.log2(heads))
  slopes = [2.0 ** (-bias_max * n / count) for n in range(1, count + 1)]
  # Every other slope of the next power of two, for the remaining heads.
  slopes += [2.0 ** (-bias_max * n / (2 * count)) for n in range(1, 2 * count, 2)]
  return lambda n, i, j: -slopes[n] * abs(i - j)


def kerple(heads, weights):
  """The bias(n, i, j) = -r1 ln(1 + r2 |i - j|), r1 and r2 > 0."""
  r1, r2 = (np.logaddexp(0, np.asarray(weights[name], np.float64)) for name in ['r1_N', 'r2_N'])
  return lambda n, i, j: -r1[n] * math.log1p(r2[n] * abs(i - j))


def fire(heads, weights):
  """The bias(n, i, j) = f_n(psi(i - j) / psi(max(L, i))), psi(x) = ln(1 + |c x|)."""
  w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
  length = abs(w['multiplier_L'] * 512)

  def psi(x):
    return math.log1p(abs(w['c_L'] * x))

  def bias(n, i, j):
    x = psi(i - j) / (psi(max(length, i)) + 1e-6)
    hidden = np.maximum(w['first_LR'] * x + w['first_bias_LR'], 0)
    return hidden @ w['second_LRN'][:, n] + w['second_bias_LN'][n]

  return bias


def leaky_relu(x):
  return x if x > 0 else 0.01 * x


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  heads = np.shape(q)[2]
  q_pos, k_pos = np.asarray(q_pos, np.float64), np.asarray(k_pos, np.float64)
  content = attention.dot(q, k)
  base = {'alibi': alibi, 'kerple': kerple, 'fire': fire}[args['base']]
  static = base(heads, weights.get('static'), **args.get('arguments', {}))
  scores, biases, hidden_bias, output, output_bias = (
    np.asarray(weights[name], np.float64)
    for name in ['scores_LNR', 'biases_LNR', 'hidden_bias_LR', 'output_LRN', 'output_bias_LN']
  )
  assert len(hidden_bias) == args['width'], hidden_bias.shape

  def score(b, n, i, j):
    a = [content(b, m, i, j) for m in range(heads)]
    s = [static(m, q_pos[b, i], k_pos[b, j]) for m in range(heads)]
    f = output_bias[n]
    for r in range(args['width']):
      inputs = math.fsum(a[m] * scores[m, r] + s[m] * biases[m, r] for m in range(heads))
      f += output[r, n] * leaky_relu(inputs + hidden_bias[r])
    return a[n] + s[n] + f

  return attention.attend(score, v, visible, heads)
