"""Rotary position embedding: each pair of channels of q and k rotates with the position.

Paper: Su et al. 2021, 'RoFormer: Enhanced Transformer with Rotary Position Embedding',
arXiv 2104.09864, equations (14)-(16): a_mn = (R_m q_m) . (R_n k_n), where R_m rotates pair c by the
angle m theta_c, theta_c = base^(-2c/d), and d is the rotated width (all of H in the paper).
Layouts: 'interleaved' pairs channels (2c, 2c+1), the paper's; 'half' pairs (c, c + d/2).
Scalings are other theta, one function each: with L the trained length, s the factor, T the length
of the text.
"""

import math

import numpy as np

from tests.oracles import attention


def frequencies(width, base):
  """theta_c for the width/2 pairs of `width` rotated channels."""
  return [base ** (-2 * c / width) for c in range(width // 2)]


def linear(width, base, T, factor):
  """Positions divided by s: arXiv 2306.15595."""
  return [theta / factor for theta in frequencies(width, base)]


def ntk(width, base, T, factor):
  """NTK-aware: another base, such that the slowest pair is s times slower."""
  return frequencies(width, base * factor ** (width / (width - 2)))


def dynamic(width, base, T, factor, original_max_position_embeddings):
  """NTK-aware with s growing with the length; within L it is RoPE."""
  L = original_max_position_embeddings
  return ntk(width, base, T, factor * max(T, L) / L - (factor - 1))


def yarn(
  width, base, T, factor, original_max_position_embeddings, beta_fast=32, beta_slow=1,
  ramp='code', truncate=True, **temperature,
):
  """arXiv 2309.00071: fast pairs stay, slow ones are interpolated, with a ramp between.

  The ramp is linear in the pair's index in the authors' code, in its rotations within L in the
  paper.
  """
  L, out = original_max_position_embeddings, []

  def index(turns):
    return width * math.log(L / (turns * 2 * math.pi)) / (2 * math.log(base))

  low, high = index(beta_fast), index(beta_slow)
  if truncate:
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, width - 1)
  if low == high:
    high += 0.001
  for c, theta in enumerate(frequencies(width, base)):
    interpolated = (c - low) / (high - low)
    if ramp == 'paper':
      interpolated = 1 - (L * theta / (2 * math.pi) - beta_slow) / (beta_fast - beta_slow)
    interpolated = min(max(interpolated, 0), 1)
    out.append(interpolated * theta / factor + (1 - interpolated) * theta)
  return out


def longrope(
  width, base, T, short_factor, long_factor, factor, original_max_position_embeddings,
  attention_factor=None,
):
  """arXiv 2402.13753: a searched divisor for each pair; others beyond L."""
  divisors = long_factor if T > original_max_position_embeddings else short_factor
  return [1 / (by * base ** (2 * c / width)) for c, by in enumerate(divisors)]


def llama3(
  width, base, T, factor, low_freq_factor, high_freq_factor, original_max_position_embeddings
):
  """Llama 3.1, by wavelength."""
  L, out = original_max_position_embeddings, []
  for theta in frequencies(width, base):
    wavelength = 2 * math.pi / theta
    if wavelength > L / low_freq_factor:
      theta = theta / factor
    elif wavelength >= L / high_freq_factor:
      smooth = (L / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor)
      theta = (1 - smooth) * theta / factor + smooth * theta
    out.append(theta)
  return out


def proportional(width, base, T, partial_rotary_factor, factor=1.0):
  """p-RoPE, arXiv 2410.06205: the slowest pairs do not rotate."""
  turning = int(partial_rotary_factor * width // 2)
  rest = width // 2 - turning
  return [theta / factor for theta in frequencies(width, base)[:turning]] + [0.0] * rest


def clipped(width, base, T, clip_low_n=20, hard=False):
  """CoPE, arXiv 2602.05258: half a cosine takes the slowest pairs to 0; or they are 0."""
  out = frequencies(width, base)
  number = min(clip_low_n, len(out))
  for i in range(number):
    taper = 0.5 * (1 + math.cos(math.pi * i / (number - 1))) if number > 1 else 1.0
    out[len(out) - number + i] *= 0.0 if hard else taper
  return out


KINDS = {
  'linear': linear, 'ntk': ntk, 'dynamic': dynamic, 'yarn': yarn, 'longrope': longrope,
  'llama3': llama3, 'proportional': proportional, 'clipped': clipped,
}


def scaled(width, base, scaling, T=None):
  """Returns scaled theta_c; `resonance` (arXiv 2403.00071) makes wavelengths integers."""
  own = {key: value for key, value in scaling.items() if key not in ('rope_type', 'resonance')}
  kind = scaling.get('rope_type', 'default')
  found = frequencies(width, base) if kind == 'default' else KINDS[kind](width, base, T, **own)
  if scaling.get('resonance'):
    found = [2 * math.pi / round(2 * math.pi / theta) for theta in found]
  return found


def temperature(s, m):
  return 0.1 * m * math.log(s) + 1


def attention_factor(scaling):
  """Returns the factor on cosines and sines."""
  kind, s = scaling.get('rope_type'), scaling.get('factor')
  if kind not in ('yarn', 'longrope'):
    return 1.0
  if 'attention_factor' in scaling:
    return scaling['attention_factor']
  if kind == 'longrope':
    return math.sqrt(1 + math.log(s) / math.log(scaling['original_max_position_embeddings']))
  if scaling.get('mscale'):
    return temperature(s, scaling['mscale']) / temperature(s, scaling['mscale_all_dim'])
  return temperature(s, 1)


def query_factor(scaling):
  """Returns the factor of DeepSeek's models on all logits."""
  if not scaling.get('mscale_all_dim'):
    return 1.0
  return temperature(scaling['factor'], scaling['mscale_all_dim']) ** 2


def rotate(x, pos, base, fraction, layout, scaling=None, length=None):
  """x [B,L,N,H] with its first int(H*fraction) channels rotated by pos [B,L]."""
  out, pos = np.array(x, np.float64), np.asarray(pos, np.float64)
  batch, length, heads, size = out.shape
  width = int(size * fraction)
  assert width % 2 == 0, width
  grow = attention_factor(scaling or {})
  for b in range(batch):
    for t in range(length):
      for c, theta in enumerate(scaled(width, base, scaling or {}, length)):
        first, second = {'interleaved': (2 * c, 2 * c + 1), 'half': (c, c + width // 2)}[layout]
        cos, sin = grow * math.cos(pos[b, t] * theta), grow * math.sin(pos[b, t] * theta)
        for n in range(heads):
          one, two = out[b, t, n, first], out[b, t, n, second]
          out[b, t, n, first] = one * cos - two * sin
          out[b, t, n, second] = one * sin + two * cos
  return out


def embed(x, pos, args, weights, ids=None):
  """Returns x [B,T,D] unchanged: the positions enter in the attention."""
  return np.array(x, np.float64)


def attend(q, k, v, q_pos, k_pos, visible, args, weights, ends=None):
  """q [B,T,N,H] (scaled), k and v [B,S,K,H], pos [B,T] and [B,S] -> o [B,T,N,H].

  Each query is the last token of a text, whose frequencies rotate the query and all keys.
  """
  q = query_factor(args.get('scaling', {})) * np.asarray(q, np.float64)
  of_query = {}
  for b, i in np.ndindex(np.shape(q_pos)):
    row, turn = slice(b, b + 1), dict(args, length=q_pos[b, i] + 1)
    one = rotate(q[row, i : i + 1], q_pos[row, i : i + 1], **turn)
    of_query[b, i] = attention.dot(one, rotate(k[row], k_pos[row], **turn))
  score = lambda b, n, i, j: of_query[b, i](0, n, 0, j)
  return attention.attend(score, v, visible, np.shape(q)[2])
