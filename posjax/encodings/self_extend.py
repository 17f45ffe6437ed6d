"""Self-Extend: RoPE up to a window; beyond it positions are those of groups of tokens.

Jin et al. 2024, "LLM Maybe LongLM", ICML, arXiv 2401.01325, section 3.

  A_ij = q_i^T R(-r_ij) k_j / sqrt(H)
  r_ij = i - j                                                             if i - j < window
         (floor(i / group) + window - floor(window / group)) - floor(j / group)    else

With R of rope.py. Each end is rounded down for itself: a distance beyond the window depends on
where the pair is, by one. For models that were trained with RoPE at L positions, unchanged, and
texts of up to (L - window) group + window.
"""

import jax.numpy as jnp

from posjax.encodings.parts.remap import Remap


class SelfExtend(Remap):
  window: int = 1024
  group: int = 8
  shift_invariant = property(lambda self: self.group == 1)

  def check(self, dims):
    super().check(dims)
    if self.window < 0:
      raise ValueError(f'window must not be negative; it is {self.window}')
    if self.group < 1:
      raise ValueError(f'group, the tokens that share a position, must be positive; '
                       f'it is {self.group}')

  def query_places(self, pos_BT):
    return pos_BT, pos_BT // self.group + self.window - self.window // self.group

  def key_places(self, pos_BT):
    return pos_BT, pos_BT // self.group

  def kind(self, q_pos, k_pos):
    return (q_pos - k_pos >= self.window).astype(jnp.int32)


EXAMPLES = (
  dict(self_extend=dict(window=3, group=3)),
  dict(self_extend=dict(window=2, group=4, layout='interleaved')),
)
