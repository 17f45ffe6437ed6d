"""LieRE: the position is the exponent of a rotation in many planes, which are learned.

Ostmeier et al. 2024, arXiv 2406.10322.

  q'_m . k'_n = q_m^T R(m)^T R(n) k_n        R(p) = exp(sum_a p_a G_a),   G_a^T = -G_a

Each axis of positions has generators G_a in blocks of `block` channels, in each layer and key head.
Their entries start uniform in [0, 2 pi), for positions from 0 to 1. Generators of different axes do
not commute, so that logits depend on more than n - m: shifting an image changes them. Logits depend
on n - m alone if there is one axis, or if `block` is 2: such blocks are planes, as in RoPE-Mixed.

Each token, key head and layer has its own matrix. It costs 11 products of blocks, and one more for
each doubling of the exponent's norm beyond 1/4; a product is 2 H block^2 operations. A token
without a place, such as a class token, is not rotated.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.encodings.parts.matrices import Matrices


class Liere(Matrices):
  @property
  def shift_invariant(self) -> bool:
    return self.block == 2 or (self.dims is not None and self.dims.P == 1)

  def setup(self) -> None:
    init = nn.initializers.uniform(2 * math.pi)
    self.generator_LPKCR = self.weight('generator_LPKCR', init, **self.entries)

  def exponents(self, pos_BTP: jax.Array) -> jax.Array:
    # A product, not an einsum: accelerators would round its operands to bfloat16.
    generator_PKCR = self.generator_LPKCR.astype(pos_BTP.dtype)
    return jnp.sum(pos_BTP[..., None, None, None] * generator_PKCR, axis=2)


EXAMPLES = dict(liere=dict(block=4, unit=32.0)), dict(liere=dict(block=2, unit=64.0))
