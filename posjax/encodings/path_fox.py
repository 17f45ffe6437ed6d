"""PaTH-FoX: PaTH's reflections, and FoX's forget gate of each token, which lowers the logits.

Yang et al. 2025, arXiv 2505.16381; the gates are from Lin et al. 2025, arXiv 2503.02130.

  A_ij = (q_i^T (H_i H_(i-1) … H_(j+1)) k_j + sum_{l = j+1 .. i} log f_l) / sqrt(H)

As in the authors' code, the gates are divided by sqrt(H) too. To divide only the products, as FoX
alone does, use the chain 'path+fox'.
"""

from typing import Any

import jax

from posjax.encodings.core.combinators import share
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions
from posjax.encodings.fox import Fox
from posjax.encodings.path import Path


class PathFox(Path):
  """PaTH with forget gates; features and carry are pairs, of `Path` and of `Fox`."""

  bias: float = 0.0

  def setup(self) -> None:
    super().setup()
    self.fox = Fox(self.bias, dims=self.dims)

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    reflections, state = super().features(x_BTD, at, state)
    log_f_BTN, _ = self.fox.features(x_BTD, at, ())
    return (reflections, self.dims.scale * log_f_BTN), state

  def key_block(self, k: AttentionInput) -> AttentionInput:
    reflections, log_f_BTN = k.features
    crossing = super().key_block(k.replace(features=reflections)).features
    sums = self.fox.key_block(k.replace(features=log_f_BTN)).features
    return k.replace(features=(crossing, sums))

  def init_carry(self, q: AttentionInput) -> Any:
    return super().init_carry(q), self.fox.init_carry(q)

  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    q_BNTH, c_BNT = carry
    s_BNTS, q_BNTH = super().score(s_BNTS, share(pair, 0), q_BNTH)
    s_BNTS, c_BNT = self.fox.score(s_BNTS, share(pair, 1), c_BNT)
    return s_BNTS, (q_BNTH, c_BNT)

  def weights(self) -> Any:
    self.fox.weights()  # creates them; the line below includes them
    return super().weights()


EXAMPLES = (dict(path_fox=dict(rank=5)),)
