"""FLOATER: a learned dynamical system whose path is added to queries, keys and values.

Paper: Liu et al. 2020, 'Learning to Encode Position for Transformer with Continuous Dynamical
Model', ICML, arXiv 2003.09229: dp/dt = f(t, p), f = Linear-ReLU-Linear, and each layer gets the
time t as an additional last channel; q_i += p_q(i dt) before the scale 1/sqrt(H), k_i += p_k(i dt),
v_i += p_v(i dt). Runge-Kutta of fourth order, steps of dt / substeps. The three starts are
[3, N H], in the order q, k, v; K < N key heads use the first K H channels of their start.
"""

import math

import numpy as np

from tests.oracles import attention


def dynamics(t, p, weights):
  """p [d] at time t -> its derivative [d]; matrices [d + 1, d]."""
  hidden = np.append(p, t) @ np.float64(weights['first_RH']) + weights['first_bias_H']
  hidden = np.array([max(value, 0.0) for value in hidden])
  return np.append(hidden, t) @ np.float64(weights['second_RH']) + weights['second_bias_H']


def path(start, args, weights):
  """start [d] -> p(0), p(dt), …, [length, d]."""
  h = args['dt'] / args['substeps']
  p, t, out = np.float64(start), 0.0, []
  for position in range(args['length']):
    out.append(p)
    for substep in range(args['substeps']):
      t = position * args['dt'] + substep * h
      a = dynamics(t, p, weights)
      b = dynamics(t + h / 2, p + h * a / 2, weights)
      c = dynamics(t + h / 2, p + h * b / 2, weights)
      d = dynamics(t + h, p + h * c, weights)
      p = p + h * (a + 2 * b + 2 * c + d) / 6
  return np.array(out)


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the path is added after the projections."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], integer q_pos [B,T] and k_pos [B,S] -> o [B,T,N,H]."""
  q, k, v = (np.array(x, np.float64) for x in (q, k, v))
  heads, size = q.shape[2:]
  starts = np.asarray(weights['start_LPH'], np.float64)
  assert starts.shape == (3, heads * size), starts.shape
  paths = [path(start, args, weights) for start in starts]
  ends = [(q, q_pos, 1 / math.sqrt(size)), (k, k_pos, 1.0), (v, k_pos, 1.0)]
  for (x, pos, scale), way in zip(ends, paths, strict=True):
    for b in range(x.shape[0]):
      for t in range(x.shape[1]):
        for n in range(x.shape[2]):
          x[b, t, n] += scale * way[int(pos[b, t]), n * size : (n + 1) * size]
  return attention.attend(attention.dot(q, k), v, visible, heads)
