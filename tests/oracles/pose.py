"""Positional skip-wise training: the second chunk of a text is moved farther away.

Paper: Zhu et al. 2023, 'PoSE: Efficient Context Window Extension of LLMs via Positional Skip-wise
Training', ICLR 2024, arXiv 2309.10400, with two chunks, as in the authors' code: a text of L tokens
is cut after the first l of them, l from 1, ..., (L+1) // 2, and the rest is shifted by u, from 0,
..., L_t - L. Outside of training positions do not change.
"""

import numpy as np

from tests.oracles import attention


def positions(pos, state, args=None, ids=None, segment=None):
  """pos [B,T]; of the state cut and skip [B] -> pos, plus the skip from the cut on."""
  out = np.array(pos)
  for b in range(out.shape[0]):
    for t in range(out.shape[1]):
      if state != () and out[b, t] >= state.cut[b]:
        out[b, t] += state.skip[b]
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: only the positions change."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
