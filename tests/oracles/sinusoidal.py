"""Fixed sines and cosines added to the input.

Paper: Vaswani et al. 2017, 'Attention Is All You Need', NeurIPS, arXiv 1706.03762, section 3.5:
PE(p, 2k) = sin(p base^(-2k/D)), PE(p, 2k+1) = cos(p base^(-2k/D)).
Layouts: 'interleaved' is the paper's; 'half' puts all sines first; 'tensor2tensor' does too, with
base^(-k/(D/2-1)), so that the last frequency is exactly 1/base.
An odd width is the next even one's table without its last channel; of 'interleaved' only.
A learned number `scale` may multiply the table (x-transformers, SpeechT5), and positions may begin
at `offset` (fairseq). The token embedding's factor sqrt(D) is not included.
"""

import math

import numpy as np

from tests.oracles import attention


def table(pos, width, base, layout):
  """Positions [P], integers or fractions -> [P, width]."""
  if width % 2:
    assert layout == 'interleaved', layout
    return table(pos, width + 1, base, layout)[:, :width]
  half = width // 2
  out = np.zeros((len(pos), width))
  for t in range(len(pos)):
    for k in range(half):
      exponent = 2 * k / width
      if layout == 'tensor2tensor':
        # With a single frequency the exponent is undefined; tensor2tensor uses frequency 1.
        exponent = k / max(half - 1, 1)
      angle = pos[t] * base ** -exponent
      sine, cosine = {
        'interleaved': (2 * k, 2 * k + 1),
        'half': (k, half + k),
        'tensor2tensor': (k, half + k),
      }[layout]
      out[t, sine], out[t, cosine] = math.sin(angle), math.cos(angle)
  return out


def embed(x, pos, args, weights, ids=None):
  """x [B,T,D] and pos [B,T] -> x plus the table's rows at pos."""
  x, pos = np.asarray(x, np.float64), np.asarray(pos, np.float64)
  pos = pos + args.get('offset', 0)
  rows = [table(pos[b], x.shape[2], args['base'], args['layout']) for b in range(len(x))]
  return x + np.float64(weights.get('scale', 1.0)) * np.stack(rows)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], visible [B,T,S] -> o [B,T,N,H]."""
  return attention.attend(attention.dot(q, k), v, visible, np.shape(q)[2])
