"""HeadScale: the logits of each head of each layer are multiplied by a learned number.

Wang et al. 2024, "Length Generalization of Causal Transformers without Position Encoding",
arXiv 2404.12224.

  A_ij = s_n q_i . k_j / sqrt(H)

The paper trains the s_n alone, of a NoPE model at a longer length than its own; one number for all
is 'uniform' in temperature.py.
"""

from flax import linen as nn

from posjax.encodings.core.arrays import at_least_float32, sharpen
from posjax.encodings.core.encoding import Encoding


class HeadScale(Encoding):
  start: float = 1.0
  axes = None

  def setup(self):
    self.scale_LN = self.weight('scale_LN', nn.initializers.constant(self.start))

  def query(self, q):
    return sharpen(q, self.scale_LN.astype(at_least_float32(q.h))[None, None])
