"""Hard ALiBi: some heads see only a few of the latest tokens, each head one more.

Paper: Jelassi et al. 2024, 'Repeat After Me: Transformers are Better than State Space Models at
Copying', arXiv 2402.01032. Head n of the first `windowed` heads, n = 0, 1, ..., sees the keys with
0 <= i - j <= n; the other heads see all keys that the mask allows. A head of a query that
sees no key has no softmax; its output is 0.
"""

import numpy as np

from tests.oracles import attention


def sees(head, i, j, windowed):
  """Returns whether a head's query at i sees a key at j."""
  return head >= windowed or 0 <= i - j <= head


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H]."""
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  group = q.shape[2] // k.shape[2]
  out = np.zeros(q.shape)
  for n in range(q.shape[2]):
    own = np.array(visible, bool)
    for b, i, j in np.argwhere(visible):
      own[b, i, j] = sees(n, float(q_pos[b][i]), float(k_pos[b][j]), args['windowed'])
    one, key = slice(n, n + 1), slice(n // group, n // group + 1)
    score = attention.dot(q[:, :, one], k[:, :, key])
    out[:, :, one] = attention.attend(score, v[:, :, key], own, 1)
  return out
