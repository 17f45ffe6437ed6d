"""Scalings of RoPE's frequencies, for contexts beyond the trained length.

A scaling is a dictionary with Hugging Face's keys: `rope_type`, and the keys of that type.

  dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=4096)

Below, theta_i = base^(-2i/d) for d rotated channels, i = 0 .. d/2 - 1, s is the factor, and
L = original_max_position_embeddings is the trained length, in which plane i makes
L theta_i / (2 pi) turns. Everything is computed in float64 on the host. Each type is a function
whose arguments are the valid keys.

Two types, `dynamic` and `longrope`, also depend on the length of the text. Here this is the length
at the query, its position + 1. So the logits after token t equal those of a text that ends there,
however the text is decoded, padded, packed or batched. Without a cache, one attention layer of
Hugging Face computes the same for the last token of a text. With a cache, Hugging Face mixes keys
that were rotated by the frequencies of different lengths. Without a cache, it rotates the queries
of all tokens by the frequencies of the entire text, so in a model of several layers later text
changes the outputs of earlier tokens. Up to L all of these agree.

`frozen` reads every dictionary: numbers may be integers, floats, strings or NumPy scalars, and
`type` is another name of `rope_type`.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict


class Scaled(NamedTuple):
  """The result of a scaling: frequencies and factors."""

  theta: np.ndarray  # radians per position of each plane, [d/2]
  attention_factor: float = 1.0  # of cosines and sines, so of the rotated channels alone
  query_factor: float = 1.0  # of the entire query


def default(theta: np.ndarray, *, resonance: bool = False) -> Scaled:
  """Leaves the frequencies unchanged.

  `resonance` (Wang et al. 2024, arXiv 2403.00071) rounds wavelengths to integers, so that a plane
  with at least one turn within the trained length meets no new angle beyond it.
  """
  return Scaled(_resonant(theta) if resonance else theta)


def linear(theta: np.ndarray, *, factor: float) -> Scaled:
  """Position interpolation (Chen et al. 2023, arXiv 2306.15595): theta / s."""
  return Scaled(theta / factor)


def ntk(theta: np.ndarray, *, factor: float | jax.Array, resonance: bool = False) -> Scaled:
  """NTK-aware (bloc97 2023): base' = base s^(d/(d-2)), which is theta_i s^(-2i/(d-2)).

  The fastest plane is unchanged; the slowest becomes s times slower.
  """
  theta = theta * factor ** -(np.arange(len(theta)) / (len(theta) - 1))
  return Scaled(_resonant(theta) if resonance else theta)


def dynamic(
  theta: np.ndarray, length: float | jax.Array, *, factor: float,
  original_max_position_embeddings: int,
) -> Scaled:
  """Dynamic NTK (emozilla 2023): NTK-aware with s max(length, L) / L - (s - 1); RoPE up to L."""
  longer = library(length).maximum(length / original_max_position_embeddings, 1)
  return ntk(theta, factor=factor * longer - (factor - 1))


def yarn(
  theta: np.ndarray, *, factor: float, original_max_position_embeddings: int,
  beta_fast: float = 32.0, beta_slow: float = 1.0, ramp: str = 'code', truncate: bool = True,
  attention_factor: float | None = None, mscale: float = 0.0, mscale_all_dim: float = 0.0,
  resonance: bool = False,
) -> Scaled:
  """YaRN (Peng et al. 2023, ICLR 2024, arXiv 2309.00071).

  Planes with more than beta_fast turns within L are unchanged; planes with fewer than beta_slow are
  interpolated. Between them is a ramp: linear in the number of turns (ramp='paper'), or in the
  plane index, as in the authors' code and so in every checkpoint. `truncate` widens the ramp over
  indices to integer bounds (gpt-oss does not).

  The attention factor is 0.1 ln s + 1 unless given. DeepSeek uses g(mscale) / g(mscale_all_dim)
  with g(m) = 0.1 m ln s + 1, and multiplies the query by g(mscale_all_dim)^2.
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


def magnitude(factor: float, m: float = 1.0) -> float:
  """Returns YaRN's g(m) = 0.1 m ln s + 1."""
  return 0.1 * m * math.log(factor) + 1


def longrope(
  theta: np.ndarray, length: float | jax.Array, *, short_factor: Sequence[float],
  long_factor: Sequence[float], factor: float, original_max_position_embeddings: int,
  attention_factor: float | None = None,
) -> Scaled:
  """LongRoPE (Ding et al. 2024, arXiv 2402.13753), as in Phi-3: a divisor per plane, from a search.

  From L + 1 tokens on, `long_factor` replaces `short_factor`. The attention factor of both is
  sqrt(1 + ln s / ln L).
  """
  L = original_max_position_embeddings
  if attention_factor is None:
    attention_factor = math.sqrt(1 + math.log(factor) / math.log(L))
  where = library(length).where
  divisor = where(length > L, np.array(long_factor), np.array(short_factor))
  return Scaled(theta / divisor, attention_factor)


def llama3(
  theta: np.ndarray, *, factor: float, low_freq_factor: float, high_freq_factor: float,
  original_max_position_embeddings: int,
) -> Scaled:
  """Llama 3.1 (arXiv 2407.21783): the ramp of YaRN's paper, without a temperature.

  Llama 4 Scout sets both factors to 1, which makes the ramp a step.
  """
  rotates = _turns(theta, original_max_position_embeddings)
  return Scaled(_by_parts(theta, _between(rotates, low_freq_factor, high_freq_factor), factor))


def proportional(theta: np.ndarray, *, partial_rotary_factor: float, factor: float = 1.0) -> Scaled:
  """p-RoPE (Barbero et al. 2024, ICLR 2025, arXiv 2410.06205): the slowest planes do not rotate.

  Only a share p = `partial_rotary_factor` of the planes rotates, the fastest: 1 is RoPE, 0 is NoPE.
  Unlike with Rope's `fraction`, d is the entire head size, in the exponent and in the pairing.
  """
  turning = int(partial_rotary_factor * 2 * len(theta) // 2)
  return Scaled(np.where(np.arange(len(theta)) < turning, theta / factor, 0))


def clipped(theta: np.ndarray, *, clip_low_n: int = 20, hard: bool = False) -> Scaled:
  """CoPE, clipped RoPE (Li et al. 2026, arXiv 2602.05258): half a cosine tapers the slowest to 0.

  It tapers `clip_low_n` planes; with `hard`, these planes do not rotate at all.
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

# Keys with integer values; the last two are next to a scaling, not in it.
WHOLE = (
  'original_max_position_embeddings', 'clip_low_n', 'max_position_embeddings', 'rotary_dim'
)


def library(length: float | jax.Array) -> ModuleType:
  """Returns jax.numpy if the length is a JAX array, as in a traced program; otherwise NumPy."""
  return jnp if isinstance(length, jax.Array) else np


def _turns(theta, length):
  return length * theta / (2 * np.pi)


def _index(theta, length, rotates):
  """Returns the fractional index of the plane that makes `rotates` turns."""
  return math.log(length / (rotates * 2 * math.pi)) / math.log(theta[0] / theta[1])


def _between(x, low, high):
  """Rises linearly from 0 at `low` to 1 at `high`; a step to 1 if they are equal."""
  return np.clip((x - low) / (high - low), 0, 1) if low != high else np.where(x < low, 0, 1)


def _by_parts(theta, kept, factor):
  return kept * theta + (1 - kept) * theta / factor


def _resonant(theta):
  return 2 * np.pi / np.round(2 * np.pi / theta)


def scale(scaling: Mapping[str, Any], theta: np.ndarray, length: float | jax.Array = 0) -> Scaled:
  """Returns the `Scaled` frequencies.

  Args:
    scaling: a valid scaling, or {}.
    theta: base^(-2i/d), [d/2], float64.
    length: of the text, for the types that depend on it: a number, or an array [..., 1].
  """
  own = dict(scaling)
  if depends_on_length(scaling):
    own['length'] = length
  return TYPES[own.pop('rope_type', 'default')](theta, **own)


def depends_on_length(scaling: Mapping[str, Any]) -> bool:
  return 'length' in inspect.signature(TYPES[scaling.get('rope_type', 'default')]).parameters


def frozen(scaling: Mapping[str, Any]) -> FrozenDict:
  """Returns a scaling as a hashable dictionary of plain numbers; every scaling passes through here.

  Values that are not numbers, and a `type` that contradicts `rope_type`, stay: `scaling_check`
  reports them.
  """
  plain = {key: _plain(value, key in WHOLE) for key, value in scaling.items()}
  if 'type' in plain and plain['type'] == plain.get('rope_type', plain['type']):
    plain['rope_type'] = plain.pop('type')
  return FrozenDict(plain)


def _plain(value, whole):
  if isinstance(value, list | tuple | np.ndarray):
    return tuple(number(x) for x in value)
  return number(value, whole)


def number(value: Any, whole: bool = False) -> Any:
  """Returns '8', 8 or np.float32(8) as a plain number, an int if `whole`.

  Any other value is returned unchanged.
  """
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, str):
    try:
      value = float(value)
    except ValueError:
      return value
  return int(value) if whole and isinstance(value, float) and value.is_integer() else value


def table(theta: np.ndarray, scaled: Scaled, length: int) -> str:
  """Returns a text table with a line for each plane, to check a scaling by eye.

  Args:
    theta: frequencies before the scaling.
    scaled: `Scaled` frequencies after it.
    length: the trained length in tokens, in which the turns of a plane are counted.
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
