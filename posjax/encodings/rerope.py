"""ReRoPE: RoPE within a window; all keys beyond it get the distance of the window.

Su 2023, "Rectified Rotary Position Embeddings", https://github.com/bojone/rerope.

  A_ij = q_i^T R(-r(i - j)) k_j / sqrt(H)
  r(d) = d                        if d < window
         window + slope (d - window)    else

R is the rotation of rope.py. Slope 0 is ReRoPE, 1/16 is the released Leaky ReRoPE, 1 is RoPE;
window 0 with a slope is position interpolation. For models trained with RoPE at `window` positions
or more, with unchanged weights. The released code also has the temperature log_n:
'temperature+rerope'.
"""

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.parts.remap import Remap


class Rerope(Remap):
  window: int = 512
  slope: float = 0.0

  def check(self, dims: Dims) -> None:
    super().check(dims)
    if self.window < 0:
      raise ValueError(f'window must not be negative; it is {self.window}')
    if self.slope < 0:
      raise ValueError(f'slope must not be negative; it is {self.slope}')

  def query_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    return pos_BT, self.window + self.slope * (pos_BT - self.window)

  def key_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    return pos_BT, self.slope * pos_BT

  def kind(self, q_pos: jax.Array, k_pos: jax.Array) -> jax.Array:
    return (q_pos - k_pos >= self.window).astype(jnp.int32)


EXAMPLES = (
  dict(rerope=dict(window=3)),
  dict(rerope=dict(window=2, slope=0.25, layout='interleaved', fraction=0.5)),
)
