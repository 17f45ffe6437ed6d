"""Sinusoidal absolute positions, added to the token embeddings.

Vaswani et al. 2017, "Attention is all you need", NeurIPS, arXiv 1706.03762, section 3.5.

  PE(p, 2k) = sin(p / base^(2k/D))        PE(p, 2k+1) = cos(p / base^(2k/D))

Implementations have three layouts of the table. 'interleaved' is the paper's. 'half'
(Transformer-XL, Marian) has all sines first: a permutation of channels. 'tensor2tensor' (also
fairseq, Whisper) has all sines first and other frequencies, base^(-k / (D/2 - 1)), whose longest
wavelength is exactly 2 pi base.

`scaled` multiplies the table by a learned scalar, initially D^-0.5: x-transformers does so with
'half', cramming with 'interleaved'. SpeechT5 has such a scalar too, initially 1. In fairseq,
positions begin at the id of the padding token plus one: `offset=2` (M2M100, XGLM).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions

LAYOUTS = ('interleaved', 'half', 'tensor2tensor')


def sinusoid(
  pos_BT: jax.Array, width: int, base: float = 10_000.0, layout: str = 'interleaved',
  dtype: jax.typing.DTypeLike = jnp.float32,
) -> jax.Array:
  """Returns the table's rows at positions `pos_BT`, fractions too: [B, T, width].

  An odd width, valid only for 'interleaved', is the next even width without its last channel.
  """
  half = (width + 1) // 2
  steps = half - 1 if layout == 'tensor2tensor' else half
  frequency = base ** -(np.arange(half) / steps)
  angle = pos_BT[..., None].astype(dtype) * jnp.asarray(frequency, dtype)
  sin, cos = jnp.sin(angle), jnp.cos(angle)
  if layout == 'interleaved':
    return jnp.stack([sin, cos], axis=-1).reshape(*pos_BT.shape, 2 * half)[..., :width]
  return jnp.concatenate([sin, cos], axis=-1)


class Sinusoidal(Encoding):
  base: float = 10_000.0
  layout: str = 'interleaved'
  scaled: bool = False
  offset: int = 0
  shift_invariant = False

  def check(self, dims: Dims) -> None:
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if dims.D % 2 or dims.D < 4:
      raise ValueError(
        f'the width must be even, for pairs of sin and cos, and at least 4; it is {dims.D}'
      )

  def setup(self) -> None:
    if self.scaled:
      self.scale = self.weight('scale', nn.initializers.constant(self.dims.D**-0.5))

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    dtype = at_least_float32(x_BTD)
    pos_BT = at.pos[..., 0] + self.offset
    pe_BTD = sinusoid(pos_BT, self.dims.D, self.base, self.layout, dtype)
    if self.scaled:
      pe_BTD = self.scale.astype(dtype) * pe_BTD
    return (x_BTD.astype(dtype) + pe_BTD).astype(x_BTD.dtype), state


EXAMPLES = (
  dict(sinusoidal={}),
  dict(sinusoidal=dict(layout='tensor2tensor', base=100.0, scaled=True, offset=2)),
)
