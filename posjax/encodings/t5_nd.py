"""T5's bias on several axes: a learned scalar per head and bucket of each axis, summed.

Raffel et al. 2020, JMLR 21, arXiv 1910.10683, section 2.1, on each axis; t5.py has the buckets.

  A_ij = q_i . k_j / sqrt(H) + sum_a b_an[bucket(p_ia - p_ja)]        b: [P, buckets, N]

On a line, this is T5's bias: of one side in a model that sees no later token, of both sides else.
On a grid, an earlier token may be at a later row or column, so each axis has buckets for both
sides. All layers share the tables. Between a token without a place and any token the bias is 0.
"""

import jax
from flax import linen as nn

from posjax.dims import Dims
from posjax.encodings.parts.buckets import bucket, check_buckets
from posjax.encodings.parts.grid_bias import GridBias


def sides(dims: Dims) -> int:
  return 1 if dims.causal and dims.P == 1 else 2


class T5Nd(GridBias):
  buckets: int = 32
  max_distance: int = 128

  def check(self, dims: Dims) -> None:
    check_buckets(self.buckets, self.max_distance, sides=sides(dims))

  def setup(self) -> None:
    init = nn.initializers.normal((self.dims.D or 1) ** -0.5)
    self.table_PRN = self.weight('table_PRN', init, R=self.buckets)

  def bias(self, distance: jax.Array) -> jax.Array:
    both = sides(self.dims) == 2
    row_P = bucket(distance, self.buckets, self.max_distance, both)
    tables_PRN = self.table_PRN.astype(distance.dtype)
    return sum(table_RN[row_P[..., axis]] for axis, table_RN in enumerate(tables_PRN))


EXAMPLES = dict(t5_nd=dict(buckets=8, max_distance=40)), dict(t5_nd=dict(buckets=12))
