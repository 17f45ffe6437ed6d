"""ReRoPE: RoPE up to a window; beyond it all keys are as far as the window.

Su 2023, "Rectified Rotary Position Embeddings", https://github.com/bojone/rerope.

  A_ij = q_i^T R(-r(i - j)) k_j / sqrt(H)
  r(d) = d                        if d < window
         window + slope (d - window)    else

With R of rope.py. A slope of 0 is ReRoPE, of 1/16 the released Leaky ReRoPE, of 1 RoPE; window 0
with a slope is position interpolation. For models that were trained with RoPE at `window` and more,
unchanged. The released code has the temperature log_n too: 'temperature+rerope'.
"""

import jax.numpy as jnp

from posjax.encodings.parts.remap import Remap


class Rerope(Remap):
  window: int = 512
  slope: float = 0.0

  def check(self, dims):
    super().check(dims)
    if self.window < 0:
      raise ValueError(f'window must not be negative; it is {self.window}')
    if self.slope < 0:
      raise ValueError(f'slope must not be negative; it is {self.slope}')

  def query_places(self, pos_BT):
    return pos_BT, self.window + self.slope * (pos_BT - self.window)

  def key_places(self, pos_BT):
    return pos_BT, self.slope * pos_BT

  def kind(self, q_pos, k_pos):
    return (q_pos - k_pos >= self.window).astype(jnp.int32)


EXAMPLES = (
  dict(rerope=dict(window=3)),
  dict(rerope=dict(window=2, slope=0.25, layout='interleaved', fraction=0.5)),
)
