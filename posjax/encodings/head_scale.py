"""HeadScale: multiplies the logits of each head of each layer by a learned scalar.

Wang et al. 2024, "Length Generalization of Causal Transformers without Position Encoding",
arXiv 2404.12224.

  A_ij = s_n q_i . k_j / sqrt(H)

The paper trains only the s_n, of a NoPE model at more than its trained length. A single scalar for
all heads is 'uniform' in temperature.py.
"""

from flax import linen as nn

from posjax.encodings.core.arrays import at_least_float32, sharpen
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import AttentionInput


class HeadScale(Encoding):
  start: float = 1.0
  axes = None
  encoder_order = 'nothing'

  def setup(self) -> None:
    self.scale_LN = self.weight('scale_LN', nn.initializers.constant(self.start))

  def query(self, q: AttentionInput) -> AttentionInput:
    return sharpen(q, self.scale_LN.astype(at_least_float32(q.h))[None, None])
