"""Frequencies of rotary encodings on grids: how fast each axis of a position rotates each plane.

Each published layout is a function that returns theta [P, C], float64, for P axes and d = 2 C
channels. A token at position p is rotated in plane c by the angle

  sum_a p_a theta_ac

In these layouts each plane belongs to one axis; its other theta are 0. A layout in a config is a
dictionary with the function's name and its keyword arguments:

  dict(layout='axial', base=100.0)

`base^(-k/n), k = 0 .. n - 1` is called a ladder of n frequencies below; RoPE has a ladder of C.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.core import FrozenDict

from posjax.encodings.parts.rotation import frequencies
from posjax.encodings.parts.scaling_check import POSITIVE, nearest


def axial(axes: int, width: int, *, base: float = 10_000.0) -> np.ndarray:
  """A block of C / P planes for each axis, and the same ladder in each block.

  Image encoders: RoPE-ViT (Heo et al. 2024, arXiv 2403.13298; base 100), Qwen2-VL's (2409.12191),
  timm's; videos: V-JEPA 2 (2506.09985; in its released code, the rotation is no rotation). The last
  C mod P planes do not rotate.
  """
  return _blocks(axes, width, frequencies(2 * (width // 2 // axes), base))


def pixtral(axes: int, width: int, *, base: float = 10_000.0) -> np.ndarray:
  """One ladder of C, dealt to the axes in turn; the planes of an axis are a block.

  Pixtral (Agrawal et al. 2024, arXiv 2410.07073).
  """
  theta_C = frequencies(width, base)
  dealt = [theta_C[axis::axes] for axis in range(axes)]
  owner_C = np.repeat(np.arange(axes), [len(block) for block in dealt])
  return _owned(axes, owner_C, np.concatenate(dealt))


def dinov3(
  axes: int, width: int, *, base: float = 100.0, periods: tuple[float, ...] = ()
) -> np.ndarray:
  """Axial, in turns instead of radians: 2 pi times a ladder, for positions in [-1, 1].

  DINOv3 (Siméoni et al. 2025, arXiv 2508.10104). `periods`, the shortest and the longest, replace
  the base: all periods are a geometric series between them, both included.
  """
  n = width // 2 // axes
  ladder_n = 1 / np.geomspace(*periods, n) if periods else frequencies(2 * n, base)
  return _blocks(axes, width, 2 * np.pi * ladder_n)


def pixels(
  axes: int, width: int, *, max_frequency: float = 224.0, linear: bool = False
) -> np.ndarray:
  """Axial, from half a turn for each unit up to max_frequency / 4 turns, for positions in [-1, 1].

  timm's rotary embedding of pixels: a geometric series of frequencies, or a linear one, as in the
  package rotary-embedding-torch.
  """
  n = width // 2 // axes
  series = np.linspace if linear else np.geomspace
  return _blocks(axes, width, np.pi * series(1, max_frequency / 2, n))


def chunks(
  axes: int, width: int, *, sections: tuple[int, ...], base: float = 10_000.0
) -> np.ndarray:
  """One ladder of C, cut into consecutive sections, one for each axis: M-RoPE.

  Qwen2-VL (Wang et al. 2024, arXiv 2409.12191): sections 16, 24, 24 for (time, row, column), so
  that time has the highest frequencies.
  """
  return _owned(axes, np.repeat(np.arange(axes), sections), frequencies(width, base))


def interleaved(
  axes: int, width: int, *, sections: tuple[int, ...] = (), base: float = 10_000.0
) -> np.ndarray:
  """One ladder of C, whose planes alternate between the axes: interleaved M-RoPE.

  Qwen3-VL (Huang et al. 2025, arXiv 2510.23095): each axis but the first gets no more than its
  section, and the first axis gets the rest. Without sections, all planes alternate.
  """
  owner_C = np.zeros(width // 2, int)
  for axis in range(1, axes):
    owner_C[axis : axes * sections[axis] if sections else None : axes] = axis
  return _owned(axes, owner_C, frequencies(width, base))


def videorope(
  axes: int, width: int, *, sections: tuple[int, ...], base: float = 10_000.0
) -> np.ndarray:
  """One ladder of C: the lowest frequencies for the first axis, time; the other axes alternate.

  VideoRoPE (Wei et al. 2025, arXiv 2502.05173): sections 16, 24, 24.
  """
  others = sum(sections[1:])
  owner_C = np.zeros(width // 2, int)
  owner_C[:others] = 1 + np.arange(others) % max(axes - 1, 1)
  return _owned(axes, owner_C, frequencies(width, base))


TABLES = {
  function.__name__: function
  for function in (axial, pixtral, dinov3, pixels, chunks, interleaved, videorope)
}
FILLED = 'chunks', 'videorope'  # their sections are all planes


def table(planes: Mapping[str, Any], axes: int, width: int) -> np.ndarray:
  """Returns theta [axes, width / 2] of a valid layout; {} is axial."""
  own = dict(planes)
  return TABLES[own.pop('layout', 'axial')](axes, width, **own)


def frozen(planes: Mapping[str, Any]) -> FrozenDict:
  """Returns a layout as a hashable dictionary."""
  return FrozenDict({
    key: tuple(value) if isinstance(value, list) else value for key, value in planes.items()
  })


def _blocks(axes, width, ladder_n):
  theta = np.kron(np.eye(axes), ladder_n)
  return np.pad(theta, [(0, 0), (0, width // 2 - theta.shape[1])])


def _owned(axes, owner_C, theta_C):
  return np.where(owner_C == np.arange(axes)[:, None], theta_C, 0.0)


def _numbers(x, valid):
  return type(x) is tuple and all(map(valid, x))


# For each key: a description of the valid values, and a test for them.
VALUES = {
  'base': POSITIVE,
  'max_frequency': ('a number above 2', lambda x: POSITIVE[1](x) and x > 2),
  'linear': ('True or False', lambda x: type(x) is bool),
  'periods': (
    'two positive numbers, the shorter period first',
    lambda x: x == () or (_numbers(x, POSITIVE[1]) and len(x) == 2 and x[0] < x[1]),
  ),
  'sections': (
    'integers of at least 0',
    lambda x: _numbers(x, lambda n: type(n) is int and n >= 0),
  ),
}


def check(planes: Mapping[str, Any], axes: int, width: int) -> None:
  """Raises ValueError, one line, for a layout that is wrong or does not fit axes and channels."""
  own = dict(planes)
  layout = own.pop('layout', 'axial')
  if layout not in [*TABLES]:
    valid = ', '.join(TABLES)
    raise ValueError(f'planes: layout is {layout!r}{nearest(layout, TABLES)} (valid: {valid})')
  if width % 2 or width // 2 < axes:
    raise ValueError(
      f'the head size must be even, at least two channels for each of {axes} axes; it is {width}'
    )
  _check_values(layout, own)
  sections = own.get('sections', ())
  if sections and len(sections) != axes:
    raise ValueError(
      f'planes: {layout} needs as many sections as positions have axes, {axes}; it has '
      f'{len(sections)}'
    )
  if layout in FILLED and sum(sections) != width // 2:
    raise ValueError(
      f'planes: the sections of {layout} must sum to {width // 2}, half of the head size; '
      f'they sum to {sum(sections)}'
    )


def _check_values(layout, values):
  parameters = [*inspect.signature(TABLES[layout]).parameters.values()][2:]
  keys = {parameter.name: parameter.default for parameter in parameters}
  for key, value in values.items():
    if key not in keys:
      raise ValueError(
        f'planes: {layout} has no {key!r}{nearest(key, keys)} (keys: {", ".join(keys)})'
      )
    words, valid = VALUES[key]
    if not valid(value):
      raise ValueError(f'planes: {key} must be {words}; it is {value!r}')
  if keys.get('sections') is inspect.Parameter.empty and 'sections' not in values:
    raise ValueError(f'planes: {layout} needs sections, the planes of each axis')
