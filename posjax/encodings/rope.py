"""RoPE: queries and keys are rotated by angles proportional to their positions.

Su et al. 2021, "RoFormer", arXiv 2104.09864, equations 14 to 16 and 34.

  q'_m . k'_n = q_m^T R(n - m) k_n        R rotates plane i by (n - m) theta_i
  theta_i = base^(-2i/d),  i = 0 .. d/2 - 1

A plane is a pair of channels: 'half' pairs (i, i + d/2), as GPT-NeoX and the usual Llama
checkpoints do; 'interleaved' pairs (2i, 2i + 1), as the paper and GPT-J do. The layouts differ by a
permutation of channels, so weights read with the wrong layout give wrong results without an error.
With `fraction` < 1, only the first d = H fraction channels are rotated (GPT-NeoX); d also sets the
frequencies.

`scaling` changes theta for contexts longer than those of training. It is a dictionary with Hugging
Face's keys, see scaling.py. If it depends on the length of the text (dynamic, longrope), each query
has its own theta, for the length up to this query; it rotates the query and the keys that it sees:

  q'_m . k'_n = q_m^T R_m(n - m) k_n      R_m rotates plane i by (n - m) theta_i(m + 1)

Then keys are cached unrotated. Attention multiplies queries and keys rotated by the theta of the
trained length; for queries beyond that length, `score` adds the difference, plane by plane.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, per_head
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions
from posjax.encodings.parts import scaling as scaling_lib
from posjax.encodings.parts import scaling_check
from posjax.encodings.parts.rotation import LAYOUTS, cos_sin, frequencies, planes, rotate_by


class Rope(Encoding):
  base: float = 10_000.0
  fraction: float = 1.0
  layout: str = 'half'
  scaling: FrozenDict = FrozenDict()
  rotates = 'queries and keys'

  def __post_init__(self):
    # A plain dictionary would make the module unhashable.
    object.__setattr__(self, 'scaling', scaling_lib.frozen(self.scaling))
    super().__post_init__()

  @property
  def by_length(self) -> bool:
    """Whether frequencies depend on the length of the text."""
    return scaling_lib.depends_on_length(self.scaling)

  @property
  def shift_invariant(self) -> bool:
    return not self.by_length

  @property
  def idle(self) -> tuple[str, ...]:
    return () if self.by_length else ('key_block', 'score')

  def check(self, dims: Dims) -> None:
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    width = dims.H * self.fraction
    whole = abs(width - round(width)) < 1e-6
    if not 0 < self.fraction <= 1 or not whole or round(width) % 2 or not round(width):
      raise ValueError(
        f'fraction {self.fraction} of head size {dims.H} is {width:g} channels; '
        'it must be an even number of them, from 2 to the head size'
      )
    scaling_check.check(self.scaling)
    scaling_check.check_fit(self.scaling, frequencies(round(width), self.base))
    if 'partial_rotary_factor' in self.scaling and self.fraction != 1:
      raise ValueError(
        f'scaling: {self.scaling["rope_type"]} already sets how many planes rotate: fraction '
        f'must be 1; it is {self.fraction}'
      )

  def frequencies(self) -> np.ndarray:
    """Returns theta_i before scaling."""
    return frequencies(round(self.dims.H * self.fraction), self.base)

  def scaled(self, length: float | jax.Array = 0) -> scaling_lib.Scaled:
    """Returns the frequencies, scaled for a text of `length` tokens; 0: the trained length."""
    return scaling_lib.scale(self.scaling, self.frequencies(), length)

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    theta, factor, _ = self.scaled()
    return tuple(factor * wave for wave in cos_sin(at.pos[..., 0], theta, dtype))

  def query(self, q: AttentionInput) -> AttentionInput:
    q = self._rotate(q)
    return q.replace(h=q.h * self.scaled().query_factor)

  def key(self, k: AttentionInput) -> AttentionInput:
    return k.replace(position_features=()) if self.by_length else self._rotate(k)

  def key_block(self, k: AttentionInput) -> AttentionInput:
    return self._rotate(k) if self.by_length else k

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    s_BNTS, carry = super().score(s_BNTS, pair, carry)
    if not self.by_length:
      return s_BNTS, carry
    length_BT1 = (pair.q.pos[..., :1] + 1).astype(s_BNTS.dtype)
    beyond_BT1 = length_BT1 > self.scaling['original_max_position_embeddings']
    more_BTC = self.scaled(length_BT1).theta - self.scaled().theta
    more_BTC = jnp.where(beyond_BT1, more_BTC, 0).astype(s_BNTS.dtype)
    change = lambda s: self._turned_further(s, pair, more_BTC)
    return jax.lax.cond(beyond_BT1.any(), change, lambda s: s, s_BNTS), carry

  def _turned_further(self, s_BNTS, pair, more_BTC):
    """Returns the scores if both ends are rotated by frequencies larger by `more_BTC`."""
    heads, C = pair.q.h.shape[2], more_BTC.shape[-1]
    ends = (x.astype(s_BNTS.dtype) for x in (pair.q.h, per_head(pair.k.h, heads)))
    (a, b), (x, y) = (planes(end, C, self.layout) for end in ends)
    distance = pair.distance[..., 0].astype(s_BNTS.dtype)

    @jax.checkpoint  # otherwise autodiff stores the angles of all planes
    def turn_plane(s_BNTS, plane):
      a, b, x, y, more_BT = plane
      angle = distance * more_BT[:, None, :, None]
      outer = lambda q_BTN, k_BSN: jnp.einsum('BTN,BSN->BNTS', q_BTN, k_BSN)
      along, across = outer(a, x) + outer(b, y), outer(a, y) - outer(b, x)
      # cos - 1 as -2 sin^2(angle / 2), which keeps digits at small angles.
      return s_BNTS + across * jnp.sin(angle) - 2 * along * jnp.sin(angle / 2) ** 2, None

    each = (jnp.moveaxis(x, -1, 0) for x in (a, b, x, y, more_BTC))
    return jax.lax.scan(turn_plane, s_BNTS, tuple(each))[0]

  def _rotate(self, tokens):
    made = tokens.position_features or self.position_features(tokens, at_least_float32(tokens.h))
    return tokens.replace(h=rotate_by(tokens.h, *made, self.layout), position_features=())


DYNAMIC = dict(rope_type='dynamic', factor=2.0, original_max_position_embeddings=16)
EXAMPLES = (
  dict(rope={}),
  dict(rope=dict(base=100.0, fraction=0.5, layout='interleaved', scaling=DYNAMIC)),
)
