"""Self-Extend: RoPE within a window; beyond it, groups of tokens share a position.

Jin et al. 2024, "LLM Maybe LongLM", ICML, arXiv 2401.01325, section 3.

  A_ij = q_i^T R(-r_ij) k_j / sqrt(H)
  r_ij = i - j                                                             if i - j < window
         (floor(i / group) + window - floor(window / group)) - floor(j / group)    else

R is the rotation of rope.py. Query and key are rounded down separately, so a distance beyond the
window varies by one with the position of the pair. For models trained with RoPE at L positions,
with unchanged weights, and texts of up to (L - window) group + window tokens.
"""

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.parts.remap import Remap


class SelfExtend(Remap):
  window: int = 1024
  group: int = 8
  shift_invariant = property(lambda self: self.group == 1)

  def check(self, dims: Dims) -> None:
    super().check(dims)
    if self.window < 0:
      raise ValueError(f'window must not be negative; it is {self.window}')
    if self.group < 1:
      raise ValueError(f'group, the tokens that share a position, must be positive; '
                       f'it is {self.group}')

  def query_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    return pos_BT, pos_BT // self.group + self.window - self.window // self.group

  def key_places(self, pos_BT: jax.Array) -> tuple[jax.Array, ...]:
    return pos_BT, pos_BT // self.group

  def kind(self, q_pos: jax.Array, k_pos: jax.Array) -> jax.Array:
    return (q_pos - k_pos >= self.window).astype(jnp.int32)


EXAMPLES = (
  dict(self_extend=dict(window=3, group=3)),
  dict(self_extend=dict(window=2, group=4, layout='interleaved')),
)
