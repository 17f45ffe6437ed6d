"""RoPE++: two heads share a query and a key; the second one scores with the imaginary part.

Liu et al. 2025, ICLR 2026, arXiv 2512.07525, the form with an equal number of heads (EH).

  z_nm = sum_i q_i conj(k_i) e^(j (n - m) theta_i)        channels i and i + H/2 as complex numbers
  A_nm = Re z_nm / sqrt(H) in one head, RoPE's;  Im z_nm / sqrt(H) in the other
  theta_i = base^(-2i/H)

Im z = Re(-j z): the second head is RoPE of the same query, rotated back by a right angle. If the
second head had its own query or key, the projection could absorb this rotation, and only RoPE would
be left. So among the heads that share a key head, heads 2i and 2i + 1 use the query of head 2i; the
query projection of head 2i + 1 is not read. There must be fewer key heads than heads; the paper's
form has half as many. The form with twice as many heads (EC) needs an output projection of twice
the size.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.parts.rotation import cos_sin, frequencies, rotate_by, rotate_heads


class RopePlusPlus(Encoding):
  base: float = 10_000.0
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    if dims.H % 2:
      raise ValueError(f'the head size must be even, for pairs of channels; it is {dims.H}')
    if self.base <= 0:
      raise ValueError(f'base must be positive; it is {self.base}')
    if dims.N == dims.K:
      raise ValueError(
        f'two heads must share a key head: kv_heads must be less than heads, {dims.N}, such as '
        f'{max(dims.N // 2, 1)}'
      )

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    return cos_sin(at.pos[..., 0], frequencies(self.dims.H, self.base), dtype)

  def query(self, q: AttentionInput) -> AttentionInput:
    cos, sin = (x[:, :, None] for x in self._made(q))
    head = np.arange(self.dims.N)
    imaginary_N = head % (self.dims.N // self.dims.K) % 2
    h = q.h[:, :, head - imaginary_N]
    imaginary_N1 = imaginary_N[:, None] == 1
    # The angle minus a right angle.
    cos, sin = jnp.where(imaginary_N1, sin, cos), jnp.where(imaginary_N1, -cos, sin)
    return q.replace(h=rotate_heads(h, cos, sin), position_features=())

  def key(self, k: AttentionInput) -> AttentionInput:
    return k.replace(h=rotate_by(k.h, *self._made(k)), position_features=())

  def _made(self, tokens):
    return tokens.position_features or self.position_features(tokens, at_least_float32(tokens.h))
