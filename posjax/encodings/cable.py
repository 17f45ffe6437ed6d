"""CABLE: each token computes a bias from its content; a logit falls by all biases in between.

Veisi et al. 2025, "Context-aware Biases for Length Extrapolation", arXiv 2503.08067.

  A_ij = q_i . k_j + c_i - c_j        c_t = - sum_{l <= t} softplus(w . x_l + b)

This is the forgetting Transformer (fox.py) with the sign of the gate's logit flipped, because
log sigmoid(-z) = -softplus(z). Like the equation, the released code has no 1/sqrt(H); `scaled`
keeps it.
"""

from typing import Any

import jax

from posjax.encodings.core.tokens import AttentionInput, Positions
from posjax.encodings.fox import Fox


class Cable(Fox):
  scaled: bool = False

  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    return -jax.nn.softplus(self.logits(x_BTD)), state

  def query(self, q: AttentionInput) -> AttentionInput:
    return q if self.scaled else q.replace(h=q.h / self.dims.scale)


EXAMPLES = dict(cable={}), dict(cable=dict(scaled=True))
