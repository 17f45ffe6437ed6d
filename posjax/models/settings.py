"""Settings of a layer and of both ends of a model, each a value; the config's section `model`.

The defaults are those of configs/base.py: a pre-norm decoder with RMSNorm and SwiGLU.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
from flax import linen as nn

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'silu': nn.silu,
  'gelu': functools.partial(nn.gelu, approximate=False),  # with erf, as BERT has it
  'gelu_tanh': nn.gelu,
  'relu': nn.relu,
}


@dataclasses.dataclass(frozen=True)
class NormSettings:
  """The norms of a model.

  Attributes:
    kind: 'rmsnorm' or 'layernorm'.
    eps: added to the variance.
    offset: the scale is `offset` plus the weight, which starts at 1 - `offset`.
    where: 'before' each sublayer (pre-norm), on what it 'added' to the stream, and 'after' the sum
      (post-norm, as in BERT). Without 'after', a last norm follows all layers.
  """

  kind: str = 'rmsnorm'
  eps: float = 1e-6
  offset: float = 0.0
  where: tuple[str, ...] = ('before',)


@dataclasses.dataclass(frozen=True)
class MlpSettings:
  """The MLP: 'gated' multiplies one matrix of the inputs with the activation of another."""

  gated: bool = True
  activation: str = 'silu'


@dataclasses.dataclass(frozen=True)
class EmbeddingSettings:
  """The inputs of the first layer.

  Attributes:
    scale: factor on the rows of the token table; 0: the root of the width, so that a token has
      variance 1.
    norm: whether a norm follows, after the encodings' terms.
    types: rows of a table of token types (BERT's segments); 0: none.
  """

  scale: float = 0.0
  norm: bool = False
  types: int = 0


@dataclasses.dataclass(frozen=True)
class HeadSettings:
  """The outputs of a model.

  Attributes:
    tied: whether the output matrix is the token table.
    layer: whether a dense layer, the activation and a norm come before it, as in BERT.
    scale: factor on its inputs.
  """

  tied: bool = True
  layer: bool = False
  scale: float = 1.0
