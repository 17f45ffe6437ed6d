"""Hard ALiBi: the first heads see a few of the latest tokens alone, each head one more.

Jelassi et al. 2024, "Repeat After Me: Transformers are Better than State Space Models at Copying",
ICML, arXiv 2402.01032.

  head n = 0 .. windowed - 1:   A_ij = q_i . k_j / sqrt(H) if 0 <= i - j <= n, else -infinity
  the other heads:              A_ij = q_i . k_j / sqrt(H)

Head 0 sees the token itself; the heads after the windowed ones know no positions. The authors' code
has windows in 8 heads of 12; here it is 2, which small models have, unless one says more. A key out
of a head's window is as one that is masked, -infinity and not a large number: a query that finds
none of its keys within, which only happens where its own token is not among them, gathers nothing.
"""

import jax.numpy as jnp
import numpy as np

from posjax.encodings.parts.distance import DistanceBias


class HardAlibi(DistanceBias):
  windowed: int = 2

  def check(self, dims):
    if not 0 <= self.windowed <= dims.N:
      raise ValueError(
        f'windowed must be a number of heads, from 0 to {dims.N}; it is {self.windowed}'
      )

  def bias(self, distance):
    head_N, distance = np.arange(self.dims.N), distance[..., None]
    seen = (head_N >= self.windowed) | (distance >= 0) & (distance <= head_N)
    return jnp.where(seen, 0, -jnp.inf).astype(distance.dtype)


EXAMPLES = (dict(hard_alibi=dict(windowed=4)),)
