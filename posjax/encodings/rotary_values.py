"""Rotary values: values are rotated by their positions, as RoPE rotates queries and keys.

Su et al. 2021, "RoFormer", arXiv 2104.09864, `rotary_value` of its code.

  o_m = sum_n p_mn R(n) v_n                 as in that code: depends on the value's position
  o_m = sum_n p_mn R(n - m) v_n             back=True: on its distance, as in DeepSeek-V4
  R(n) rotates plane i by n base^(-2i/H)

It does not change the scores: chain it with an encoding that does, such as 'rope+rotary_values'.
Only back=True, which rotates outputs back by the query's position, is invariant to a shift of all
positions.
"""

from typing import Any

import jax

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.parts.rotation import LAYOUTS, cos_sin, frequencies, rotate, rotate_by


class RotaryValues(Encoding):
  base: float = 10_000.0
  layout: str = 'half'
  back: bool = False
  rotates = 'values'
  shift_invariant = property(lambda self: self.back)

  def check(self, dims: Dims) -> None:
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if dims.H % 2:
      raise ValueError(f'the head size must be even, for pairs of channels; it is {dims.H}')

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    return cos_sin(at.pos[..., 0], frequencies(self.dims.H, self.base), dtype)

  def key(self, k: AttentionInput) -> AttentionInput:
    made = k.position_features or self.position_features(k, at_least_float32(k.v))
    return k.replace(v=rotate_by(k.v, *made, self.layout), position_features=())

  def query(self, q: AttentionInput) -> AttentionInput:
    return q.replace(position_features=())

  def finish(self, o_BTNH: jax.Array, q: AttentionInput, carry: Any) -> jax.Array:
    if not self.back:
      return o_BTNH
    return rotate(o_BTNH, -q.pos[..., 0], frequencies(self.dims.H, self.base), self.layout)


EXAMPLES = (
  dict(rotary_values=dict(back=True)),
  dict(rope={}, rotary_values=dict(layout='interleaved')),
)
