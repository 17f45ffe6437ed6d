"""STRING: distances from a shift on restart at a small window, where training had many pairs.

An et al. 2024, "Why Does the Effective Context Length of LLMs Fall Short?", ICLR 2025,
arXiv 2410.18745.

  A_ij = q_i^T R(-r(i - j)) k_j / sqrt(H)
  r(d) = d                      if d < shift
         d - shift + window     else

R is the rotation of rope.py. Distances near the trained length L occur in few training pairs, so
they are not used: the paper has a shift of L/3 to L/2 and a window of 128, or at least 32. For
models trained with RoPE, with unchanged weights. Only queries have two positions, so keys are
cached rotated.
"""

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.parts.remap import Remap


class StringShift(Remap):
  shift: int = 1365
  window: int = 128

  def check(self, dims: Dims) -> None:
    super().check(dims)
    if not 0 <= self.window <= self.shift:
      raise ValueError(
        f'window must lie between 0 and shift, {self.shift}; it is {self.window}'
      )

  def query_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    return pos_BT, pos_BT - self.shift + self.window

  def key_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    return (pos_BT,)

  def kind(self, q_pos: jax.Array, k_pos: jax.Array) -> jax.Array:
    return (q_pos - k_pos >= self.shift).astype(jnp.int32)


EXAMPLES = (
  dict(string_shift=dict(shift=4, window=2)),
  dict(string_shift=dict(shift=3, window=0, layout='interleaved')),
)
