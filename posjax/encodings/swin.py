"""Swin's bias: a learned scalar for each head and difference of positions within a window.

Liu et al. 2021, "Swin Transformer", ICCV, arXiv 2103.14030, section 3.2; `class_rows` as in the
released code of BEiT (Bao et al. 2022, ICLR, arXiv 2106.08254).

  A_ij = q_i . k_j / sqrt(H) + B_n[p_i - p_j]         B: [(2 M_1 - 1) … (2 M_P - 1), N]

Each layer has its own table for windows of M_1 x … x M_P positions, of any number of axes; with one
axis it is a table of distances without a clip. Swin's windows are model.chunks, its shifted windows
model.shifts; without chunks, the window holds the entire grid, as in BEiT. The bias does not depend
on where a window is.

Between a token without a place, such as a class token, and any token the bias is 0, or with
`class_rows` one of three more scalars for each head: from it to a token, from a token to it, and
between two of them. For another window, `posjax.encodings.parts.resize` resizes the other rows of a
layer, reshaped to [2 M_1 - 1, …, 2 M_P - 1, N].
"""

import jax
from flax import linen as nn

from posjax.encodings.parts.grid_bias import WindowBias, differences


class Swin(WindowBias):
  class_rows: bool = False

  def setup(self) -> None:
    rows = len(differences(self.sizes)) + 3 * self.class_rows
    self.table_RN = self.weight('table_LRN', nn.initializers.normal(0.02), R=rows)

  def table(self) -> jax.Array:
    return self.table_RN


EXAMPLES = dict(swin=dict(window=(32,))), dict(swin=dict(window=(40,), class_rows=True))
