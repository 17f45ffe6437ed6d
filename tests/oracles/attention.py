"""Softmax attention, one logit at a time, in float64.

Paper: Vaswani et al. 2017, 'Attention Is All You Need', NeurIPS, arXiv 1706.03762.
Equation (1): o_i = sum_j softmax_j(a_ij) v_j over the visible keys j. A query i that sees no key
has no softmax; its output is 0.
Here a_ij is the complete logit. q already contains 1/sqrt(H), so a bias is added after it.
"""

import math

import numpy as np


def visible(q_order, k_order, q_segment, k_segment, causal, window):
  """Returns which keys each query sees, bool [B,T,S]; window 0 is no window."""
  q_order, k_order = np.asarray(q_order), np.asarray(k_order)
  q_segment, k_segment = np.asarray(q_segment), np.asarray(k_segment)
  batch, queries, keys = *q_order.shape, k_order.shape[1]
  out = np.zeros((batch, queries, keys), bool)
  for b in range(batch):
    for i in range(queries):
      for j in range(keys):
        after = int(q_order[b, i]) - int(k_order[b, j])
        # A negative segment marks padding, which sees nothing and is seen by nothing.
        sees = q_segment[b, i] >= 0 and q_segment[b, i] == k_segment[b, j]
        if causal:
          sees = sees and after >= 0
        if window > 0:
          sees = sees and abs(after) < window
        out[b, i, j] = sees
  return out


def dot(q, k):
  """The score(b, n, i, j) = q_i . k_j; query head n reads key head n // (N/K)."""
  q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
  group = q.shape[2] // k.shape[2]

  def score(b, n, i, j):
    return math.fsum(q[b, i, n, c] * k[b, j, n // group, c] for c in range(q.shape[3]))

  return score


def mix(score, value, visible, heads, width):
  """score(b, n, i, j), value(b, n, i, j) [width], visible [B,T,S] -> o [B,T,heads,width]."""
  visible = np.asarray(visible, bool)
  batch, queries, keys = visible.shape
  out = np.zeros((batch, queries, heads, width))
  for b in range(batch):
    for n in range(heads):
      for i in range(queries):
        logits = {j: score(b, n, i, j) for j in range(keys) if visible[b, i, j]}
        if not logits:
          continue
        # A constant added to all logits does not change the softmax; this avoids overflow in exp.
        top = max(logits.values())
        total = math.fsum(math.exp(a - top) for a in logits.values())
        for j, a in logits.items():
          out[b, i, n] += math.exp(a - top) / total * value(b, n, i, j)
  return out


def attend(score, v, visible, heads):
  """score(b, n, i, j), v [B,S,K,H], visible [B,T,S], heads N -> o [B,T,N,H]."""
  v = np.asarray(v, np.float64)
  group = heads // v.shape[2]
  return mix(score, lambda b, n, i, j: v[b, j, n // group], visible, heads, v.shape[3])
