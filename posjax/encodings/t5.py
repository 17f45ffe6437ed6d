"""T5's bias: a learned scalar per head and bucket of distances; far buckets are wider.

Raffel et al. 2020, JMLR 21, arXiv 1910.10683, section 2.1; the buckets follow the authors' code.
E is the number of buckets that hold one distance each, half of all, and m = max(i - j, 0):

  A_ij = q_i . k_j / sqrt(H) + b_n[bucket(m)]
  bucket(m) = floor(m)                                                     if m < E
              min(N-1, E + trunc(ln(m/E) / ln(max_distance/E) (N - E)))    else, of N = 2 E buckets

In a model that sees later tokens, or with `bidirectional`, m = |i - j|, and each side has half of
the buckets: with one side, an encoder would not tell the order of later tokens. All layers share
the table. T5 itself has no 1/sqrt(H); its weights need `scaled=False`. GPT-NeoX and x-transformers
keep 1/sqrt(H) and multiply the table by sqrt(H): `bias_scale`.
"""


import jax
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.core.tokens import AttentionInput
from posjax.encodings.parts.buckets import bucket, check_buckets
from posjax.encodings.parts.distance import DistanceBias


class T5(DistanceBias):
  buckets: int = 32
  max_distance: int = 128
  bidirectional: bool = False
  scaled: bool = True
  bias_scale: float = 1.0
  linear_beyond = property(lambda self: self.max_distance)  # constant, in the last bucket

  def check(self, dims: Dims) -> None:
    sides = 1 if dims.causal and not self.bidirectional else 2
    check_buckets(self.buckets, self.max_distance, sides=sides)

  def setup(self) -> None:
    init = nn.initializers.normal((self.dims.D or 1) ** -0.5)
    self.table_RN = self.weight('table_RN', init, R=self.buckets)

  def query(self, q: AttentionInput) -> AttentionInput:
    return q if self.scaled else q.replace(h=q.h / self.dims.scale)

  def bias(self, distance: jax.Array) -> jax.Array:
    both = self.bidirectional or not self.dims.causal
    index = bucket(distance, self.buckets, self.max_distance, both)
    return self.table_RN.astype(distance.dtype)[index] * self.bias_scale


EXAMPLES = (
  dict(t5=dict(buckets=8, max_distance=40)),
  dict(t5=dict(buckets=12, bidirectional=True, scaled=False)),
)
