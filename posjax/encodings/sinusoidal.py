"""Sinusoidal absolute positions, added to the token embeddings.

Vaswani et al. 2017, "Attention is all you need", NeurIPS, arXiv 1706.03762, section 3.5.

  PE(p, 2k) = sin(p / base^(2k/D))        PE(p, 2k+1) = cos(p / base^(2k/D))

Three tables go by this name. 'interleaved' is the paper's. 'half' (Transformer-XL, Marian) has all
sines first: a permutation of channels. 'tensor2tensor' (also fairseq, Whisper) has all sines first
and wavelengths that end at exactly 2 pi base: another set of frequencies, base^(-k / (D/2 - 1)).

`scaled` multiplies the table by a learned number, D^-0.5 at the start: x-transformers does over
'half', cramming over 'interleaved'. So does SpeechT5, whose number is 1 at the start. fairseq's
positions begin at the number of its padding token plus one, `offset=2` (M2M100, XGLM).
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding

LAYOUTS = ('interleaved', 'half', 'tensor2tensor')


def sinusoid(pos_BT, width, base=10_000.0, layout='interleaved', dtype=jnp.float32):
  """The table's rows at `pos_BT`, any numbers: [B, T, width].

  An odd width, which only 'interleaved' may have, is the next even one without its last channel.
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

  def check(self, dims):
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if dims.D % 2 or dims.D < 4:
      raise ValueError(
        f'the width must be even, for pairs of sin and cos, and 4 at least; it is {dims.D}'
      )

  def setup(self):
    if self.scaled:
      self.scale = self.weight('scale', nn.initializers.constant(self.dims.D**-0.5))

  def embed(self, x_BTD, at, state):
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
