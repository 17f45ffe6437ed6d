"""RoPE on grids: pair c of channels of q and k rotates by theta_c times one coordinate.

Papers: Heo et al. 2024, 'Rotary Position Embedding for Vision Transformer', arXiv 2403.13298
(axial); Agrawal et al. 2024, 'Pixtral 12B', arXiv 2410.07073; Siméoni et al. 2025, 'DINOv3',
arXiv 2508.10104; timm's pixel frequencies; Wang et al. 2024, 'Qwen2-VL', arXiv 2409.12191 (chunks);
Huang et al. 2025, arXiv 2510.23095 (interleaved); Wei et al. 2025, 'VideoRoPE', arXiv 2502.05173.
Each is a function that returns (coordinate, theta_c) for each pair c. A token at -2^24 has no place
and does not rotate. Layouts of pairs are as in tests/oracles/rope.py.
"""

import math

import numpy as np

from tests.oracles import attention

NOWHERE = -(2**24)


def ladder(number, base):
  return [base ** (-k / number) for k in range(number)]


def blocks(axes, pairs, speeds):
  """The same speeds for each coordinate in turn; what is left over stands still."""
  out = [(a, theta) for a in range(axes) for theta in speeds]
  return out + [(0, 0.0)] * (pairs - len(out))


def axial(axes, pairs, base=10_000.0):
  return blocks(axes, pairs, ladder(pairs // axes, base))


def pixtral(axes, pairs, base=10_000.0):
  speeds = ladder(pairs, base)
  return [(a, speeds[c]) for a in range(axes) for c in range(a, pairs, axes)]


def dinov3(axes, pairs, base=100.0, periods=()):
  n = pairs // axes
  if periods:
    shortest, longest = periods
    lengths = [shortest * (longest / shortest) ** (k / max(n - 1, 1)) for k in range(n)]
  else:
    lengths = [base ** (k / n) for k in range(n)]
  return blocks(axes, pairs, [2 * math.pi / length for length in lengths])


def pixels(axes, pairs, max_frequency=224.0, linear=False):
  n, top = pairs // axes, max_frequency / 2
  part = [k / max(n - 1, 1) for k in range(n)]
  speeds = [1 + (top - 1) * x if linear else top**x for x in part]
  return blocks(axes, pairs, [math.pi * speed for speed in speeds])


def chunks(axes, pairs, sections, base=10_000.0):
  owners = [a for a in range(axes) for _ in range(sections[a])]
  return [*zip(owners, ladder(pairs, base), strict=True)]


def interleaved(axes, pairs, sections=(), base=10_000.0):
  """Pair c goes to coordinate c mod P, unless that has had all pairs of its section."""
  out = []
  for c, theta in enumerate(ladder(pairs, base)):
    a, earlier = c % axes, c // axes
    out.append((a if not sections or earlier < sections[a] else 0, theta))
  return out


def videorope(axes, pairs, sections, base=10_000.0):
  """The slow pairs, sections[0] of them, are for time; before them the others take turns."""
  fast = pairs - sections[0]
  return [
    (1 + c % (axes - 1) if c < fast else 0, theta) for c, theta in enumerate(ladder(pairs, base))
  ]


LAYOUTS = {
  'axial': axial, 'pixtral': pixtral, 'dinov3': dinov3, 'pixels': pixels, 'chunks': chunks,
  'interleaved': interleaved, 'videorope': videorope,
}


def rotate(x, pos, planes, layout):
  """x [B,L,N,H] with its pairs rotated by pos [B,L,P]."""
  out, pos = np.array(x, np.float64), np.asarray(pos, np.float64)
  batch, length, heads, size = out.shape
  own = {key: value for key, value in planes.items() if key != 'layout'}
  pairs = LAYOUTS[planes.get('layout', 'axial')](pos.shape[2], size // 2, **own)
  for b in range(batch):
    for t in range(length):
      if pos[b, t, 0] == NOWHERE:
        continue
      for c, (a, theta) in enumerate(pairs):
        first, second = {'interleaved': (2 * c, 2 * c + 1), 'half': (c, c + size // 2)}[layout]
        cos, sin = math.cos(pos[b, t, a] * theta), math.sin(pos[b, t, a] * theta)
        for n in range(heads):
          one, two = out[b, t, n, first], out[b, t, n, second]
          out[b, t, n, first] = one * cos - two * sin
          out[b, t, n, second] = one * sin + two * cos
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T,P] and [B,S,P] -> o [B,T,N,H]."""
  score = attention.dot(rotate(q, q_pos, **args), rotate(k, k_pos, **args))
  return attention.attend(score, v, visible, np.shape(q)[2])
