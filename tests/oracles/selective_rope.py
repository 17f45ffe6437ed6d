"""Selective RoPE: queries and keys rotate by angles summed over all tokens so far.

Paper: Movahedi et al. 2025, 'Selective Rotary Position Embedding', ICLR 2026, arXiv 2511.17388, as
in the authors' code. The layer's input is split into one part per key head, each divided by its
norm; a projection of low rank gives y_t, and
  phi_t = sum_{r=0..3} taps_(3-r) y_(t-r)   [+ exp(bias)]   [times sigmoid(gate . x_t + b)]
  Phi_t = phi_0 + ... + phi_t,   pair (c, c + H/2) rotates by base^(-2c/H) Phi_tc
for each key head and its queries. Neither convolution nor sum reaches into another document.
"""

import math

import numpy as np

from tests.oracles import attention

TAPS = 4


def normalize(x, heads):
  """Returns x [D] with each of `heads` parts divided by its norm."""
  parts = np.split(np.asarray(x, np.float64), heads)
  return np.concatenate([part / math.sqrt(math.fsum(part**2) + 1e-6) for part in parts])


def phases(x, segment, args, weights):
  """x [B,T,D], segment [B,T] -> Phi [B,T,K,H/2]."""
  weights = {name: np.asarray(w, np.float64) for name, w in weights.items()}
  down, up, taps = (weights[name] for name in ['down_LDR', 'up_LRKC', 'taps_LRKC'])
  heads, segment = up.shape[1], np.asarray(segment)
  assert down.shape[1] == args['rank'] and len(taps) == TAPS
  out = np.zeros((*np.shape(x)[:2], *up.shape[1:]))
  for b in range(out.shape[0]):
    total = np.zeros(up.shape[1:])
    for t in range(out.shape[1]):
      if t == 0 or segment[b, t] != segment[b, t - 1]:
        total = np.zeros(up.shape[1:])
      phi = np.zeros(up.shape[1:])
      for back in range(TAPS):
        if t - back >= 0 and segment[b, t - back] == segment[b, t]:
          y = np.tensordot(normalize(x[b, t - back], heads) @ down, up, 1)
          phi += taps[TAPS - 1 - back] * y
      if args['bias']:
        phi += np.exp(weights['bias_LKC'])
      if args['gate']:
        logit = normalize(x[b, t], heads) @ weights['gate_LDK'] + weights['gate_bias_LK']
        phi *= np.exp(-np.logaddexp(0, -logit))[:, None]
      total = total + phi
      out[b, t] = total
  return out


def turn(x, phase, base):
  """Returns x [B,T,N,H] rotated by phase [B,T,K,H/2] of each head's key head."""
  x = np.asarray(x, np.float64)
  half, group = x.shape[3] // 2, x.shape[2] // phase.shape[2]
  out = np.zeros_like(x)
  for n in range(x.shape[2]):
    for c in range(half):
      angle = base ** (-c / half) * phase[:, :, n // group, c]
      one, two = x[:, :, n, c], x[:, :, n, c + half]
      out[:, :, n, c] = one * np.cos(angle) - two * np.sin(angle)
      out[:, :, n, c + half] = one * np.sin(angle) + two * np.cos(angle)
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the phases enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  turned = [
    turn(x, phases(end['x'], end['segment'], args, weights), args['base'])
    for x, end in zip((q, k), ends, strict=True)
  ]
  return attention.attend(attention.dot(*turned), v, visible, np.shape(q)[2])
