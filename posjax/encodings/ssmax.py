"""Scalable softmax: with n keys, its base is a learned power of n in place of e.

Nakanishi 2025, arXiv 2501.19399.

  p_ij = n^(s z_ij) / sum_l n^(s z_il)        z_ij = q_i . k_j / sqrt(H)

which is a softmax of s ln(n) z_ij; s is a head's own in each layer. Without it attention flattens
as there are more keys. The base may also have a learned offset, s ln(n) + b with `bias`. In
trained models s is about 0.43 (`start`). Alone this is NoPE; 'ssmax+rope' has positions.

n is 1 more than the query's position: the keys that it sees in causal text, of which all is seen.
Nothing is counted: where positions begin again, it is that of the document, and where they jump or
are drawn, or a window cuts, still the position's. The first query, of n = 1, has one key alone. One
that is moved to before 0 has n = 1 too.
"""

import jax.numpy as jnp
from flax import linen as nn

from posjax.encodings.core.arrays import at_least_float32, sharpen
from posjax.encodings.core.encoding import Encoding


class Ssmax(Encoding):
  start: float = 0.43
  bias: bool = False
  shift_invariant = False
  causal_only = True  # else n keys are not all that it sees

  def setup(self):
    self.scale_LN = self.weight('scale_LN', nn.initializers.constant(self.start))
    if self.bias:
      self.bias_LN = self.weight('bias_LN', nn.initializers.zeros)

  def query(self, q):
    dtype = at_least_float32(q.h)
    n_BT = jnp.maximum(q.pos[..., 0], 0).astype(dtype) + 1
    factor_BTN = self.scale_LN.astype(dtype) * jnp.log(n_BT)[..., None]
    return sharpen(q, factor_BTN + self.bias_LN.astype(dtype) if self.bias else factor_BTN)


EXAMPLES = dict(ssmax={}), dict(ssmax=dict(bias=True))
