"""CABLE: each token makes a bias of its content, and a logit falls with all between.

Veisi et al. 2025, "Context-aware Biases for Length Extrapolation", arXiv 2503.08067.

  A_ij = q_i . k_j + c_i - c_j        c_t = - sum_{l <= t} softplus(w . x_l + b)

The forgetting Transformer with the other sign of the gate's logit, as log sigmoid(-z) is
-softplus(z), and with its sums. The released code has no 1/sqrt(H) either; `scaled` keeps it.
"""

import jax

from posjax.encodings.fox import Fox


class Cable(Fox):
  scaled: bool = False

  def features(self, x_BTD, at, state):
    return -jax.nn.softplus(self.logits(x_BTD)), state

  def query(self, q):
    return q if self.scaled else q.replace(h=q.h / self.dims.scale)


EXAMPLES = dict(cable={}), dict(cable=dict(scaled=True))
