"""ComRoPE: LieRE with generators that commute, so that logits depend on distances alone.

Yu et al. 2025, CVPR 2025, arXiv 2506.03737.

  q'_m . k'_n = q_m^T R(n - m) k_n        R(p) = exp(sum_a p_a theta_aj G_j) in block j

  kind 'ap', axial partition:         theta_aj = 1 if j mod P = a, otherwise 0
  kind 'ld', linearly dependent:      theta_aj is learned, from N(0, 1), one for all heads

G_j is learned in each layer and key head. It starts as A - A^T, where the entries of A come from
N(0, deviation^2), for positions from 0 to 1. In blocks of two channels, 'ap' is axial RoPE with
learned frequencies. Cost and tokens without a place are as in liere.py; the authors' class token is
at (1/2, 1/2), which a task may set.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.parts.matrices import Matrices

KINDS = 'ap', 'ld'


class Comrope(Matrices):
  kind: str = 'ld'
  deviation: float = 1.0

  def check(self, dims: Dims) -> None:
    super().check(dims)
    if self.kind not in KINDS:
      raise ValueError(f'kind is {self.kind!r}; valid: {", ".join(KINDS)}')
    if self.kind == 'ap' and dims.H // self.block < dims.P:
      raise ValueError(
        f'kind ap needs a block of {self.block} channels for each of {dims.P} axes; the head size '
        f'is {dims.H}'
      )
    if self.deviation <= 0:
      raise ValueError(f'deviation must be positive; it is {self.deviation}')

  def setup(self) -> None:
    # An entry of A - A^T is the difference of two entries of A.
    init = nn.initializers.normal(2**0.5 * self.deviation)
    self.generator_LKCR = self.weight('generator_LKCR', init, **self.entries)
    if self.kind == 'ld':
      self.theta_LPC = self.weight('theta_LPC', nn.initializers.normal(1.0), **self.entries)

  def exponents(self, pos_BTP: jax.Array) -> jax.Array:
    # Products, not einsums: accelerators would round their operands to bfloat16.
    if self.kind == 'ld':
      theta_PC = self.theta_LPC.astype(pos_BTP.dtype)
    else:
      axis_C = np.arange(self.entries['C']) % self.dims.P
      theta_PC = jnp.asarray(axis_C == np.arange(self.dims.P)[:, None], pos_BTP.dtype)
    along_BTC = jnp.sum(pos_BTP[..., None] * theta_PC, axis=2)
    return along_BTC[:, :, None, :, None] * self.generator_LKCR.astype(pos_BTP.dtype)


EXAMPLES = (
  dict(comrope=dict(block=4, unit=32.0)),
  dict(comrope=dict(kind='ap', block=4, unit=32.0)),
)
