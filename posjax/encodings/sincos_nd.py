"""Sines and cosines of each axis of positions, such as row and column, added to the embeddings.

Vaswani et al. 2017, arXiv 1706.03762, on each axis; for image patches MoCo v3 (Chen et al. 2021,
arXiv 2104.02057) and MAE (He et al. 2021, arXiv 2111.06377).

  PE(p) = [sin(p_a theta_c), cos(p_a theta_c)]    for every axis a of P, in the order of `layout`
  theta_c = base^(-c/n)        or, with `ends`, base^(-c/(n-1))        c = 0 .. n - 1, n = D / 2P

The coordinates are the data's: a larger image may scale them into the trained range, or center
them. A token without a place, such as a class token, gets nothing: the row of zeros of MAE.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions
from posjax.encodings.parts.rotation import cos_sin

# The order of channels, the slowest index first: axis P, wavelength C, sine or cosine W.
LAYOUTS = {'interleaved': 'PCW', 'half': 'PWC', 'sines_first': 'WPC'}


def sincos(
  pos_BTP: jax.Array, width: int, base: float = 10_000.0, layout: str = 'half', ends: bool = False,
  dtype: jax.typing.DTypeLike = jnp.float32,
) -> jax.Array:
  """Returns the table's rows at positions `pos_BTP`, fractions too: [B, T, width].

  Each axis has ceil(width / 2P) wavelengths. A width that is no multiple of 2P, valid only for
  'interleaved', lacks the last channels of the next multiple.
  """
  n = -(-width // (2 * pos_BTP.shape[-1]))
  theta = base ** -(np.arange(n) / (n - 1 if ends else n))
  cos, sin = cos_sin(pos_BTP, theta, dtype)
  pe = jnp.einsum(f'BTPCW->BT{LAYOUTS[layout]}', jnp.stack([sin, cos], axis=-1))
  return pe.reshape(*pos_BTP.shape[:2], -1)[..., :width]


class SincosNd(Encoding):
  """Sinusoids of every axis; with one axis, those of `sinusoidal`.

  Published tables for positions (row, column):

  MoCo v3 (square grids), AIMv2    layout='half'
  MAE                              layout='half', reverse=True
  big_vision (arXiv 2205.01580)    layout='half', reverse=True, ends=True
  timm                             layout='sines_first', also with reverse=True
  positional-encodings             layout='interleaved'
  """

  base: float = 10_000.0
  layout: str = 'half'
  ends: bool = False
  reverse: bool = False
  axes = math.inf
  shift_invariant = False

  def check(self, dims: Dims) -> None:
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if dims.D < 4 * dims.P:
      raise ValueError(
        f'the width must be at least {4 * dims.P}, for two wavelengths on each axis of positions; '
        f'it is {dims.D}'
      )
    if self.layout != 'interleaved' and dims.D % (2 * dims.P):
      raise ValueError(
        f'the width must be a multiple of {2 * dims.P}, for sines and cosines of each axis of '
        f"positions; it is {dims.D}, which only layout='interleaved' accepts"
      )

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    dtype = at_least_float32(x_BTD)
    pos_BTP = at.pos[..., ::-1] if self.reverse else at.pos
    pe_BTD = sincos(pos_BTP, self.dims.D, self.base, self.layout, self.ends, dtype)
    pe_BTD = jnp.where(at.placed[..., None], pe_BTD, 0)
    return (x_BTD.astype(dtype) + pe_BTD).astype(x_BTD.dtype), state


EXAMPLES = (
  dict(sincos_nd={}),
  dict(sincos_nd=dict(base=100.0, layout='sines_first', ends=True, reverse=True)),
)
