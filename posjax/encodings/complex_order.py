"""Complex-order embeddings: each word is a wave of its position, with frequencies of its own.

Wang et al. 2020, "Encoding word order in complex embeddings", ICLR, arXiv 1912.12333.

  f(w, p)_k = r_wk e^(i (omega_wk p + theta_wk)),  k = 0 .. D/2 - 1

The real form, for a model of real numbers: the first half of a token's embedding x is the real part
of r e^(i theta) and the second half the imaginary one, and f takes their places. So the table of
tokens, of width D, holds amplitudes and phases of D/2 complex numbers. The paper's experiments have
theta = 0, which is a second half of 0, and then f is [r cos(omega p), r sin(omega p)]. Attention is
that of real numbers, not the authors' |Q K^T| of complex ones.

Frequencies are learned, and begin alike for all words: omega_wk = base^(-2 floor(k/2) / (D/2)).
`shared` keeps them alike, a smaller form that the paper has too.
"""

import jax.numpy as jnp
import numpy as np

from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.parts.rotation import cos_sin, rotate_by


class ComplexOrder(Encoding):
  base: float = 10_000.0
  shared: bool = False
  shift_invariant = False

  def check(self, dims):
    if dims.D % 2:
      raise ValueError(f'the width must be even, for real and imaginary parts; it is {dims.D}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if not self.shared and not dims.V:
      raise ValueError('words have frequencies of their own: it needs a vocabulary, V in dims')

  def setup(self):
    k = np.arange(self.dims.D // 2)
    start_C = self.base ** (-2 * (k // 2) / len(k))
    init = lambda rng, shape, dtype: jnp.broadcast_to(jnp.asarray(start_C, dtype), shape)
    self.omega_VC = self.weight('omega_C' if self.shared else 'omega_VC', init, C=len(k))

  def embed(self, x_BTD, at, state):
    omega = self.omega_VC.astype(at_least_float32(x_BTD))
    if not self.shared:
      if isinstance(at.ids, tuple):
        raise ValueError(
          'complex_order turns each word by its own frequencies: give Positions(…, ids=…)'
        )
      omega = omega[at.ids]
    turned = cos_sin(at.pos[..., 0], omega, omega.dtype)
    return rotate_by(x_BTD[:, :, None], *turned)[:, :, 0], state


EXAMPLES = dict(complex_order={}), dict(complex_order=dict(base=100.0, shared=True))
