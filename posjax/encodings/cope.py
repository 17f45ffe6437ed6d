"""CoPE: a key's position counts the tokens from key to query that open the query's gate.

Golovneva et al. 2024, arXiv 2405.18719, equations 3 to 6.

  g_ij = sigmoid(q_i . k_j / sqrt(H))          p_ij = min(sum_{l = j .. i} g_il, P - 1)
  A_ij = (q_i . k_j + (1 - f) z_i[n] + f z_i[n + 1]) / sqrt(H)
  z_i[n] = q_i . e_n,  n = floor(p_ij),  f = p_ij - n

The sum runs over the keys that the query sees, nearest first; the carry holds the sum over the
blocks visited so far. x-transformers does not scale the interpolated term: `scaled=False`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, zero_carry
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair


def interpolate(z_BNTR: jax.Array, p_BNTS: jax.Array) -> jax.Array:
  """Interpolates each query's z at its fractional positions p: [B, N, T, S]."""
  rows = z_BNTR.shape[-1]
  low = lax.stop_gradient(jnp.floor(p_BNTS))
  n = low.astype(jnp.int32)
  take = lambda n: jnp.take_along_axis(z_BNTR, n, axis=-1)
  below, above = take(n), take(jnp.minimum(n + 1, rows - 1))
  return below + (p_BNTS - low) * (above - below)


class Cope(Encoding):
  rows: int = 64
  scaled: bool = True
  axes = None
  causal_only = True
  contiguous = True

  def check(self, dims: Dims) -> None:
    if self.rows < 2:
      raise ValueError(f'rows must be at least 2; it is {self.rows}')

  def setup(self) -> None:
    self.table_LHR = self.weight('table_LHR', nn.initializers.zeros, R=self.rows)

  def query(self, q: AttentionInput) -> AttentionInput:
    dtype = at_least_float32(q.h)
    z_BNTR = jnp.einsum('BTNH,HR->BTNR', q.h.astype(dtype), self.table_LHR.astype(dtype))
    return q.replace(features=z_BNTR if self.scaled else z_BNTR / self.dims.scale)

  def init_carry(self, q: AttentionInput) -> Any:
    return zero_carry(q)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    gate_BNTS = jnp.where(pair.mask, jax.nn.sigmoid(s_BNTS), 0)
    counted_BNTS = carry[..., None] + lax.cumsum(gate_BNTS, axis=3, reverse=True)
    p_BNTS = jnp.minimum(counted_BNTS, self.rows - 1)
    bias_BNTS = interpolate(pair.q.features.swapaxes(1, 2), p_BNTS)
    return s_BNTS + bias_BNTS, carry + jnp.sum(gate_BNTS, axis=-1)


EXAMPLES = dict(cope=dict(rows=4)), dict(cope=dict(rows=6, scaled=False))
