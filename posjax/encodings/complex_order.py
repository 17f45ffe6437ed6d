"""Complex-order embeddings: each word is a wave of its position, with its own frequencies.

Wang et al. 2020, "Encoding word order in complex embeddings", ICLR, arXiv 1912.12333.

  f(w, p)_k = r_wk e^(i (omega_wk p + theta_wk)),  k = 0 .. D/2 - 1

This is the form for a real-valued model. The first half of a token's embedding x is the real part
of r e^(i theta), the second half the imaginary part; f replaces both. So the token table of width D
holds the amplitudes and phases of D/2 complex numbers. The paper's experiments have theta = 0: the
second half is then 0, and f is [r cos(omega p), r sin(omega p)]. Attention is real-valued, not the
authors' |Q K^T| of complex numbers.

Frequencies are learned and start equal for all words: omega_wk = base^(-2 floor(k/2) / (D/2)).
`shared` has one set of frequencies for all words, a smaller form that is also in the paper.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions
from posjax.encodings.parts.rotation import cos_sin, rotate_by


class ComplexOrder(Encoding):
  base: float = 10_000.0
  shared: bool = False
  shift_invariant = False
  reads_ids = property(lambda self: not self.shared)

  def check(self, dims: Dims) -> None:
    if dims.D % 2:
      raise ValueError(f'the width must be even, for real and imaginary parts; it is {dims.D}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if not self.shared and not dims.V:
      raise ValueError('each word has its own frequencies, so it needs a vocabulary: set V in dims')

  def setup(self) -> None:
    k = np.arange(self.dims.D // 2)
    start_C = self.base ** (-2 * (k // 2) / len(k))
    init = lambda rng, shape, dtype: jnp.broadcast_to(jnp.asarray(start_C, dtype), shape)
    self.omega_VC = self.weight('omega_C' if self.shared else 'omega_VC', init, C=len(k))

  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    omega = self.omega_VC.astype(at_least_float32(x_BTD))
    if not self.shared:
      if isinstance(at.ids, tuple):
        raise ValueError(
          'complex_order has frequencies for each word: pass token ids, Positions(…, ids=…)'
        )
      omega = omega[at.ids]
    turned = cos_sin(at.pos[..., 0], omega, omega.dtype)
    return rotate_by(x_BTD[:, :, None], *turned)[:, :, 0], state


EXAMPLES = dict(complex_order={}), dict(complex_order=dict(base=100.0, shared=True))
