"""RoPE-Mixed: RoPE on grids with learned frequencies, so that planes rotate along any direction.

Heo et al. 2024, ECCV 2024, arXiv 2403.13298.

  q'_m . k'_n = q_m^T R(n - m) k_n        R rotates plane c by the angle sum_a (n - m)_a theta_ac

theta is learned in each layer and head. Where query heads share a key head, they share its theta:
otherwise logits would not depend on n - m alone. At the start, the planes of a head are in P blocks
with the same ladder of magnitudes, base^(-k/n), n = C / P. The block's direction in the grid is
drawn at random, and the directions of a head's blocks are perpendicular: in the plane, a random
rotation of the axes. The base is 10 in the paper, for positions 0, 1, 2, …; encodings have no
weight decay. A token without a place, such as a class token, is not rotated.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, per_head
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput
from posjax.encodings.parts.rotation import LAYOUTS, cos_sin_on_axes, frequencies, rotate_heads


class RopeMixed(Encoding):
  base: float = 10.0
  layout: str = 'half'
  axes = math.inf
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout is {self.layout!r}; valid: {", ".join(LAYOUTS)}')
    if dims.H % 2:
      raise ValueError(f'the head size must be even; it is {dims.H}')

  def setup(self) -> None:
    init = in_random_directions(self.base)
    self.theta_LPKC = self.weight('theta_LPKC', init, C=self.dims.H // 2)

  def query(self, q: AttentionInput) -> AttentionInput:
    return self._rotate(q)

  def key(self, k: AttentionInput) -> AttentionInput:
    return self._rotate(k)

  def _rotate(self, tokens):
    made = cos_sin_on_axes(tokens, self.theta_LPKC, at_least_float32(tokens.h))
    cos, sin = (per_head(x_BTKC, tokens.h.shape[2]) for x_BTKC in made)
    return tokens.replace(h=rotate_heads(tokens.h, cos, sin, self.layout))


def in_random_directions(base: float) -> Callable[..., jax.Array]:
  """Returns an initializer of theta [P, K, C]."""

  def init(rng, shape, dtype):
    P, K, C = shape
    ladder_n = jnp.asarray(frequencies(2 * math.ceil(C / P), base), dtype)
    turned_KPP = jax.random.orthogonal(rng, P, (K,), dtype)
    # A rotation, without a reflection.
    turned_KPP = turned_KPP.at[..., 0].multiply(jnp.linalg.det(turned_KPP)[:, None])
    theta_KPC = jnp.kron(turned_KPP, ladder_n[None, None])[..., :C]
    return theta_KPC.swapaxes(0, 1)

  return init


EXAMPLES = dict(rope_mixed={}), dict(rope_mixed=dict(layout='interleaved'))
