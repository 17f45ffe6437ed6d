"""Scalings of RoPE's frequencies, for contexts beyond those of training: a table for each.

A scaling is a dictionary in Hugging Face's words: `rope_type`, and the keys that the type takes.

  dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=4096)

Below, theta_i = base^(-2i/d) of d rotated channels, i = 0 .. d/2 - 1, s is the factor, and
L = original_max_position_embeddings the trained length: plane i makes L theta_i / (2 pi) turns in
it. All is float64 and made on the host; a type is a function, and its arguments are the valid keys.

Two types also depend on the length of the text, `dynamic` and `longrope`. Here this is the length
at the query, its position + 1. So the logits after token t equal those of a text that ends there,
however the text is decoded, padded, packed or batched. In one layer of attention, Hugging Face
computes the same for the last token of a text, without its cache. With its cache, Hugging Face
mixes keys that were rotated by the frequencies of different lengths. Without it, the frequencies of
the whole text rotate the queries of all tokens, so that in a model of several layers later text
changes what earlier tokens say. Up to L all of these agree.

A dictionary comes in through `frozen`: numbers may be integers, floats, strings or NumPy's, and
`type` is another name of `rope_type`.
"""

import inspect
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict


class Scaled(NamedTuple):
  """What a scaling makes of frequencies."""

  theta: np.ndarray  # radians per position of each plane, [d/2]
  attention_factor: float = 1.0  # of cosines and sines: scales what the rotated channels add
  query_factor: float = 1.0  # of the whole query


def default(theta, *, resonance=False):
  """Frequencies as they are.

  `resonance` (Wang et al. 2024, arXiv 2403.00071) makes wavelengths whole numbers of positions, so
  that a plane that has turned once within the trained length meets no new angle beyond it.
  """
  return Scaled(_resonant(theta) if resonance else theta)


def linear(theta, *, factor):
  """Position interpolation (Chen et al. 2023, arXiv 2306.15595): theta / s."""
  return Scaled(theta / factor)


def ntk(theta, *, factor, resonance=False):
  """NTK-aware (bloc97 2023): base' = base s^(d/(d-2)), which is theta_i s^(-2i/(d-2)).

  The fastest plane stays as it is, and the slowest one is s times slower.
  """
  theta = theta * factor ** -(np.arange(len(theta)) / (len(theta) - 1))
  return Scaled(_resonant(theta) if resonance else theta)


def dynamic(theta, length, *, factor, original_max_position_embeddings):
  """Dynamic NTK (emozilla 2023): NTK-aware with s max(length, L) / L - (s - 1); RoPE within L."""
  longer = library(length).maximum(length / original_max_position_embeddings, 1)
  return ntk(theta, factor=factor * longer - (factor - 1))


def yarn(
  theta, *, factor, original_max_position_embeddings, beta_fast=32.0, beta_slow=1.0, ramp='code',
  truncate=True, attention_factor=None, mscale=0.0, mscale_all_dim=0.0, resonance=False,
):
  """YaRN (Peng et al. 2023, ICLR 2024, arXiv 2309.00071).

  Planes that make more than beta_fast turns within L stay, those below beta_slow are interpolated.
  Between lies a ramp: linear in the turns (ramp='paper'), or in the index, as in the authors' code
  and so in every checkpoint; `truncate` widens that one to whole indices (gpt-oss does not).

  The attention factor is 0.1 ln s + 1 unless given. DeepSeek has g(mscale) / g(mscale_all_dim)
  with g(m) = 0.1 m ln s + 1, and g(mscale_all_dim)^2 on the query.
  """
  L = original_max_position_embeddings
  if ramp == 'paper':
    kept = _between(_turns(theta, L), beta_slow, beta_fast)
  else:
    low, high = (_index(theta, L, rotates) for rotates in (beta_fast, beta_slow))
    if truncate:
      low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * len(theta) - 1)
    kept = 1 - _between(np.arange(len(theta)), low, high if high != low else high + 0.001)
  theta = _by_parts(theta, kept, factor)
  if attention_factor is None:
    attention_factor = magnitude(factor, mscale or 1) / magnitude(factor, mscale_all_dim)
  query_factor = magnitude(factor, mscale_all_dim) ** 2
  return Scaled(_resonant(theta) if resonance else theta, attention_factor, query_factor)


def magnitude(factor, m=1.0):
  """g(m) = 0.1 m ln s + 1, of YaRN."""
  return 0.1 * m * math.log(factor) + 1


def longrope(
  theta, length, *, short_factor, long_factor, factor, original_max_position_embeddings,
  attention_factor=None,
):
  """LongRoPE (Ding et al. 2024, arXiv 2402.13753), as Phi-3 has it: a searched divisor per plane.

  The long ones hold from L + 1 tokens on; sqrt(1 + ln s / ln L) is the attention factor of both.
  """
  L = original_max_position_embeddings
  if attention_factor is None:
    attention_factor = math.sqrt(1 + math.log(factor) / math.log(L))
  where = library(length).where
  divisor = where(length > L, np.array(long_factor), np.array(short_factor))
  return Scaled(theta / divisor, attention_factor)


def llama3(
  theta, *, factor, low_freq_factor, high_freq_factor, original_max_position_embeddings
):
  """Llama 3.1 (arXiv 2407.21783): YaRN's ramp of the paper, without a temperature.

  Llama 4 Scout has both factors at 1, where the ramp is a step.
  """
  rotates = _turns(theta, original_max_position_embeddings)
  return Scaled(_by_parts(theta, _between(rotates, low_freq_factor, high_freq_factor), factor))


def proportional(theta, *, partial_rotary_factor, factor=1.0):
  """p-RoPE (Barbero et al. 2024, ICLR 2025, arXiv 2410.06205): the slowest planes do not turn.

  Unlike Rope's `fraction`, d is the whole head, in the exponent and in the pairing: RoPE with a
  share p = `partial_rotary_factor` of its planes, the fastest. 1 is RoPE, 0 is NoPE.
  """
  turning = int(partial_rotary_factor * 2 * len(theta) // 2)
  return Scaled(np.where(np.arange(len(theta)) < turning, theta / factor, 0))


def clipped(theta, *, clip_low_n=20, hard=False):
  """CoPE, clipped RoPE (Li et al. 2026, arXiv 2602.05258): half a cosine takes the slowest to 0.

  `clip_low_n` planes of it; `hard`: they do not turn at all.
  """
  number = min(clip_low_n, len(theta))
  taper = np.zeros(number) if hard else (1 + np.cos(np.linspace(0, np.pi, number))) / 2
  return Scaled(theta * np.concatenate([np.ones(len(theta) - number), taper]))


TYPES = {
  function.__name__: function
  for function in (
    default, linear, ntk, dynamic, yarn, longrope, llama3, proportional, clipped
  )
}

# Keys whose numbers are counts; the last two stand beside a scaling.
WHOLE = (
  'original_max_position_embeddings', 'clip_low_n', 'max_position_embeddings', 'rotary_dim'
)


def library(length):
  """Where the length is an array of a traced program, so is what is made of it."""
  return jnp if isinstance(length, jax.Array) else np


def _turns(theta, length):
  return length * theta / (2 * np.pi)


def _index(theta, length, rotates):
  """The index, not whole, of the plane that makes so many turns."""
  return math.log(length / (rotates * 2 * math.pi)) / math.log(theta[0] / theta[1])


def _between(x, low, high):
  """From 0 at `low` to 1 at `high`; a step to 1 where they are equal."""
  return np.clip((x - low) / (high - low), 0, 1) if low != high else np.where(x < low, 0, 1)


def _by_parts(theta, kept, factor):
  return kept * theta + (1 - kept) * theta / factor


def _resonant(theta):
  return 2 * np.pi / np.round(2 * np.pi / theta)


def scale(scaling, theta, length=0):
  """What a scaling makes of frequencies.

  Args:
    scaling: a valid one, or {}.
    theta: base^(-2i/d), [d/2], float64.
    length: of the text, for the types that it matters to: a number, or an array [..., 1].
  """
  own = dict(scaling)
  if depends_on_length(scaling):
    own['length'] = length
  return TYPES[own.pop('rope_type', 'default')](theta, **own)


def depends_on_length(scaling):
  return 'length' in inspect.signature(TYPES[scaling.get('rope_type', 'default')]).parameters


def frozen(scaling):
  """Returns the same, hashable and of plain numbers: the one door by which dictionaries come in.

  What is not a number, and a `type` that contradicts `rope_type`, stay for `scaling_check` to name.
  """
  plain = {key: _plain(value, key in WHOLE) for key, value in scaling.items()}
  if 'type' in plain and plain['type'] == plain.get('rope_type', plain['type']):
    plain['rope_type'] = plain.pop('type')
  return FrozenDict(plain)


def _plain(value, whole):
  if isinstance(value, list | tuple | np.ndarray):
    return tuple(number(x) for x in value)
  return number(value, whole)


def number(value, whole=False):
  """Returns '8', 8 or np.float32(8) as a plain number, an int if it is to be `whole`.

  Anything else is returned as it is.
  """
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, str):
    try:
      value = float(value)
    except ValueError:
      return value
  return int(value) if whole and isinstance(value, float) and value.is_integer() else value


def table(theta, scaled, length):
  """A line for each plane, to read before one trusts a scaling.

  Args:
    theta: frequencies before.
    scaled: `Scaled`, after.
    length: the tokens of training, for the turns that a plane makes in them.
  """
  rotates = f'turns in {length}'
  lines = [f'plane   frequency  wavelength  {rotates:>13}      scaled  slower by']
  for i, (before, after) in enumerate(zip(theta, scaled.theta, strict=True)):
    slower = f'{before / after:9.4g}' if after else '    still'
    lines.append(
      f'{i:5}  {before:10.4g}  {2 * np.pi / before:10.4g}  {_turns(before, length):13.4g}  '
      f'{after:10.4g}  {slower}'
    )
  lines.append(
    f'attention factor {scaled.attention_factor:.6g}, query factor {scaled.query_factor:.6g}'
  )
  return '\n'.join(lines)
