"""RoPE on grids: each plane is rotated by the angle that one axis of the position gives it.

  q'_m . k'_n = q_m^T R(n - m) k_n        R rotates plane c by the angle sum_a (n - m)_a theta_ac

Positions m, n have P axes: (row, column) of an image, (time, row, column) of a video or of a text
with images, `posjax/tasks/core/grids.py`. `planes` is the layout, which assigns planes to axes and
frequencies to planes: axial RoPE, Pixtral, DINOv3, M-RoPE of Qwen2-VL and Qwen3-VL, VideoRoPE and
others, see parts/planes.py for the papers. With one axis it is RoPE, unless the layout has other
frequencies; so M-RoPE is RoPE where all axes have equal positions, in text.

Positions are the task's: a layout such as 'dinov3' or 'pixels' expects them in [-1, 1]. For weights
of a model whose first axis is the column (RoPE-ViT; timm's `grid_indexing` 'xy'), give positions
(column, row). A token without a place, such as a class token, is not rotated. `layout` says which
channels make a plane, as in rope.py.

DINOv3 rescales an image's coordinates at random in training. Cape does that if it sees each axis:
'cape@0+cape@1+rope_nd' with local_shift=0, one factor and one shift for both axes.
"""

import math
from typing import Any

import jax
from flax.core import FrozenDict

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.parts import planes as planes_lib
from posjax.encodings.parts.rotation import LAYOUTS, cos_sin_on_axes, rotate_by


class RopeNd(Encoding):
  planes: FrozenDict = FrozenDict()
  layout: str = 'half'
  axes = math.inf
  rotates = 'queries and keys'

  def __post_init__(self):
    # A plain dictionary would make the module unhashable.
    object.__setattr__(self, 'planes', planes_lib.frozen(self.planes))
    super().__post_init__()

  def check(self, dims: Dims) -> None:
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    planes_lib.check(self.planes, dims.P, dims.H)

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    theta_PC = planes_lib.table(self.planes, self.dims.P, self.dims.H)
    return cos_sin_on_axes(at, theta_PC, dtype)

  def query(self, q: AttentionInput) -> AttentionInput:
    return self._rotate(q)

  def key(self, k: AttentionInput) -> AttentionInput:
    return self._rotate(k)

  def _rotate(self, tokens):
    made = tokens.position_features or self.position_features(tokens, at_least_float32(tokens.h))
    return tokens.replace(h=rotate_by(tokens.h, *made, self.layout), position_features=())


EXAMPLES = (
  dict(rope_nd={}),
  dict(rope_nd=dict(planes=dict(layout='pixtral', base=100.0), layout='interleaved')),
)
