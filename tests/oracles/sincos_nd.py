"""Fixed sines and cosines of each axis of positions, added to the input.

Papers: Vaswani et al. 2017, arXiv 1706.03762, section 3.5, applied to each axis; MAE, He et al.
2021, arXiv 2111.06377: a class token's row is zero.
With n = ceil(D / 2P) wavelengths on each of P axes, axis a has the angles p_a base^(-c/n), c < n;
`ends` divides by n - 1, so that the last frequency is exactly 1/base. `reverse` takes the last axis
first. Channels: 'interleaved' has sine, cosine, sine, cosine, ... of one axis after the other;
'half' the sines, then the cosines of one axis after the other; 'sines_first' the sines of all axes,
then their cosines. Channels beyond D are cut.
"""

import math

import numpy as np

from tests.oracles import attention

NOWHERE = -(2**24)


def row(pos, width, base, layout, ends):
  """One position [P] -> [width]."""
  count = math.ceil(width / (2 * len(pos)))
  channels = {}
  for a in range(len(pos)):
    for c in range(count):
      angle = pos[a] * base ** -(c / (count - 1 if ends else count))
      for cosine in (0, 1):
        place = {
          'interleaved': 2 * count * a + 2 * c + cosine,
          'half': 2 * count * a + count * cosine + c,
          'sines_first': count * len(pos) * cosine + count * a + c,
        }[layout]
        channels[place] = math.cos(angle) if cosine else math.sin(angle)
  return [channels[i] for i in range(width)]


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D] and pos [B,T,P] -> x plus the table's rows; nothing for a token at NOWHERE."""
  out = np.array(x, np.float64)
  for b in range(out.shape[0]):
    for t in range(out.shape[1]):
      if pos[b, t, 0] != NOWHERE:
        own = [float(p) for p in pos[b, t]]
        own = own[::-1] if args['reverse'] else own
        out[b, t] += row(own, out.shape[2], args['base'], args['layout'], args['ends'])
  return out


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
