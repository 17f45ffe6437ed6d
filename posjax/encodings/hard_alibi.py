"""Hard ALiBi: the first heads see only a few of the latest tokens, each head one more.

Jelassi et al. 2024, "Repeat After Me: Transformers are Better than State Space Models at Copying",
ICML, arXiv 2402.01032.

  head n = 0 .. windowed - 1:   A_ij = q_i . k_j / sqrt(H) if 0 <= i - j <= n, else -infinity
  the other heads:              A_ij = q_i . k_j / sqrt(H)

Head 0 sees only the token itself; the heads after the windowed heads use no positions. The authors'
code has windows in 8 of 12 heads; the default here is 2, as small models have few heads. A key
outside a head's window is masked: its logit is -infinity, not a large negative number. A query
without keys in the window, possible only if its own token is not among the keys, has output 0.
"""

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.parts.distance import DistanceBias


class HardAlibi(DistanceBias):
  windowed: int = 2
  # The first head's window is the token itself, wherever it stands.
  encoder_order = property(lambda self: 'order and side' if self.windowed > 1 else 'nothing')

  def check(self, dims: Dims) -> None:
    if not 0 <= self.windowed <= dims.N:
      raise ValueError(
        f'windowed must be a number of heads, from 0 to {dims.N}; it is {self.windowed}'
      )

  def bias(self, distance: jax.Array) -> jax.Array:
    head_N, distance = np.arange(self.dims.N), distance[..., None]
    seen = (head_N >= self.windowed) | (distance >= 0) & (distance <= head_N)
    return jnp.where(seen, 0, -jnp.inf).astype(distance.dtype)


EXAMPLES = (dict(hard_alibi=dict(windowed=4)),)
