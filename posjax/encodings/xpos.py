"""xPos: RoPE whose planes also decay with the distance, the fast planes most.

Sun et al. 2023, ACL, arXiv 2212.10554, algorithm 1.

  A_ij = sum_c zeta_c^((i - j) / scale_base) [q_i R((i - j) theta_c) k_j]_c / sqrt(H)
  zeta_c = (2c / H + gamma) / (1 + gamma) < 1

Factors zeta^i of queries and zeta^-j of keys would overflow float32 beyond 36k positions. Here both
are relative to the last position that the block of keys and the document have in common. So only
the positions of one document in one block are limited: if they span more than 70 scale_base, scores
are not finite. Keys are therefore cached rotated but not scaled, and the encoding computes its own
scores. Causal only, because later keys would grow with the distance.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from posjax.dims import Dims
from posjax.encodings.core.arrays import at_least_float32, qk_logits
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions
from posjax.encodings.parts.rotation import cos_sin, frequencies, rotate_by


class Xpos(Encoding):
  base: float = 10_000.0
  scale_base: float = 512.0
  gamma: float = 0.4
  causal_only = True
  own_score = True
  rotates = 'queries and keys'

  def check(self, dims: Dims) -> None:
    if dims.H % 2:
      raise ValueError(f'the head size must be even, for pairs of channels; it is {dims.H}')
    if self.base <= 0 or self.scale_base <= 0 or self.gamma <= 0:
      raise ValueError(
        'base, scale_base and gamma must be positive; they are '
        f'{self.base}, {self.scale_base} and {self.gamma}'
      )

  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    return cos_sin(at.pos[..., 0], frequencies(self.dims.H, self.base), dtype)

  def query(self, q: AttentionInput) -> AttentionInput:
    return self._rotate(q)

  def key(self, k: AttentionInput) -> AttentionInput:
    return self._rotate(k)

  def key_block(self, k: AttentionInput) -> AttentionInput:
    same_BSS = k.segment_ids[:, :, None] == k.segment_ids[:, None, :]
    last_BS = _last(same_BSS, k.pos[..., 0])
    return k.replace(h=self._grow(k.h, last_BS - k.pos[..., 0]), features=last_BS)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    same_BTS = pair.q.segment_ids[:, :, None] == pair.k.segment_ids[:, None, :]
    distance_BT = pair.q.pos[..., 0] - _last(same_BTS, pair.k.features)
    # A query that sees no key of the block may lie far before it: 0 keeps unused scores finite.
    distance_BT = jnp.where(jnp.any(pair.mask[:, 0], axis=-1), distance_BT, 0)
    return qk_logits(self._grow(pair.q.h, distance_BT), pair.k.h), carry

  def _rotate(self, tokens):
    made = tokens.position_features or self.position_features(tokens, at_least_float32(tokens.h))
    return tokens.replace(h=rotate_by(tokens.h, *made, 'interleaved'), position_features=())

  def _grow(self, h_BTNH, distance_BT):
    """Returns h times zeta^(distance / scale_base)."""
    dtype, width = at_least_float32(h_BTNH), self.dims.H
    zeta = (np.arange(0, width, 2) / width + self.gamma) / (1 + self.gamma)
    log_zeta = jnp.asarray(np.repeat(np.log(zeta), 2) / self.scale_base, dtype)
    growth = jnp.exp(distance_BT.astype(dtype)[..., None, None] * log_zeta)
    return (h_BTNH.astype(dtype) * growth).astype(h_BTNH.dtype)


def _last(same_BTS, pos_BS):
  """Returns the last position of a key in the same document, [B, T]; -2**30 if there is none."""
  return jnp.max(jnp.where(same_BTS, pos_BS[:, None], -(2**30)), axis=-1)
