"""Position interpolation: compresses the positions of a longer text into the trained range.

Chen et al. 2023, "Extending context window of large language models via positional interpolation",
arXiv 2306.15595, equation 4.

  p -> p L / L'        factor = L' / L, wanted length over trained length

It only moves positions: chain it with an encoding that accepts fractions. 'interpolate+rope' is the
linear scaling of RoPE, frequencies theta / factor; a `scaling` of RoPE would scale again.
"""

from typing import Any

import jax

from posjax.dims import Dims
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.core.tokens import Positions


class Interpolate(Encoding):
  factor: float = 4.0
  fractions = True
  encoder_order = 'nothing'

  def check(self, dims: Dims) -> None:
    if self.factor <= 0:
      raise ValueError(f'factor must be positive; it is {self.factor}')

  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    return at.pos / self.factor, state


EXAMPLES = (dict(interpolate={}, rope={}),)  # alone it changes nothing
