"""The Transformer: token ids in, outputs for each token, such as next-token logits.

Vaswani et al. 2017, arXiv 1706.03762; decoder-only: Radford et al. 2019 (GPT-2); encoder-only:
Devlin et al. 2018 (BERT), arXiv 1810.04805.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax import dims as dims_lib
from posjax.dims import Dims
from posjax.encodings import Positions
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.declarations import Limit, narrowest
from posjax.encodings.core.entry import checked
from posjax.models.block import fan_in, make_norm
from posjax.models.pattern import Pattern
from posjax.models.product import product
from posjax.models.settings import ACTIVATIONS, HeadSettings
from posjax.models.stack import Cache, Stack
from posjax.sharding import replicated

if TYPE_CHECKING:
  from posjax.batch import Batch


class Transformer(Stack):
  """A decoder or an encoder; or a decoder next to `encoder`, which reads a source.

  An encoder shares the token table. With an `encoder`, pass `source`.
  """

  vocabulary: int = dataclasses.field(kw_only=True)
  head: HeadSettings = HeadSettings()
  vectors: int = 0  # width of the vectors that it, or `encoder`, reads; 0: token ids
  outputs: int | None = None  # per token; None: the size of the vocabulary
  encoder: Stack | None = None

  @property
  def shares_table(self) -> bool:
    """Whether the output head is the token table."""
    return self.head.tied and self.outputs in (None, self.vocabulary)

  @property
  def dims(self) -> Dims:
    return dataclasses.replace(super().dims, V=self.vocabulary)

  @property
  def shift_invariant(self) -> bool:
    return all(pattern.shift_invariant for pattern in self.patterns)

  @property
  def limit(self) -> Limit:
    return narrowest(pattern.limit for pattern in self.patterns)

  @property
  def patterns(self) -> tuple[Pattern, ...]:
    """The patterns of all stacks, and of the attention to an encoder."""
    return (self.pattern, self.encoder.pattern, self.cross) if self.encoder else (self.pattern,)

  def visible_pairs(self, T: int) -> int:
    own = super().visible_pairs(T)
    return own + self.layers * T * T + self.encoder.visible_pairs(T) if self.encoder else own

  @nn.compact
  def __call__(
    self, x_BT: jax.Array, at: Positions, cache: Cache | None = None, *,
    source: tuple[jax.Array, Positions] | None = None, types: jax.Array | None = None,
    train: bool = False, rng: jax.Array | None = None,
  ) -> tuple[jax.Array, Cache | None]:
    """Returns outputs [B, T, V] in float32 or wider, and the cache with these tokens added.

    Args:
      x_BT: token ids, or vectors [B, T, C] if `vectors` is set and there is no encoder.
      at: the `Positions` of the tokens.
      cache: from `init_cache`, or a previous call; None: the tokens see only each other.
      source: for a model with an encoder, token ids [B, S], or vectors [B, S, C] if `vectors` is
        set, and their `Positions`. A token sees the source tokens of its segment. With a cache,
        only the first call has a source.
      types: token types [B, T], for a model with a table of them; None: all 0.
      train: whether to apply dropout, which needs an rng named 'dropout'.
      rng: a key, if an encoding draws positions and `cache` is None (a cache holds the draw).

    Raises:
      ValueError: one line, if `at` has another shape, or a dtype that cannot count tokens.
    """
    at = checked(at, *x_BT.shape[:2])
    table_VD = self._table()
    types_RD = self._types_table()
    x_BTD, at = self._read(table_VD, types_RD, x_BT, at, types)
    how = dict(train=train, rng=rng)
    if source is not None:
      x_BS, source_at = source
      source_at = checked(source_at, *x_BS.shape[:2])
      x_BSD, source_at = self._read(table_VD, types_RD, x_BS, source_at, None)
      source = self.encoder(x_BSD, source_at, **how), source_at
    x_BTD, cache = self.run(x_BTD, at, cache, source, **how)
    return self._outputs(x_BTD, table_VD), cache

  def _table(self):
    """Returns the token table; None if neither inputs nor outputs are tokens."""
    if not self.vocabulary:
      return None
    return dims_lib.weight(self, 'table_VD', nn.initializers.normal(self.dim**-0.5), self.dims)

  def _types_table(self):
    if not self.embedding.types:
      return None
    init, rows = nn.initializers.normal(self.dim**-0.5), self.embedding.types
    return dims_lib.weight(self, 'types_RD', init, self.dims, R=rows).astype(self.dtype)

  def _read(self, table_VD, types_RD, tokens_BT, at, types):
    """Returns the embedded tokens or vectors, and their positions with the ids of tokens."""
    if tokens_BT.ndim == 3:
      init, width = fan_in(1), self.vectors
      input_CD = dims_lib.weight(self, 'input_CD', init, self.dims, C=width).astype(self.dtype)
      x_BTD = product(tokens_BT.astype(self.dtype), input_CD)
      if 'input' in self.biases:
        bias_D = dims_lib.weight(self, 'input_bias_D', nn.initializers.zeros, self.dims)
        x_BTD += bias_D.astype(self.dtype)
      return x_BTD, at
    # By default, tokens have variance 1 and sinusoids 1/2, so that neither dominates.
    scale = self.embedding.scale or self.dim**0.5
    x_BTD = replicated(table_VD.astype(self.dtype))[tokens_BT] * scale
    if types_RD is not None:
      x_BTD += types_RD[jnp.zeros_like(tokens_BT) if types is None else types] * scale
    return x_BTD, at.replace(ids=tokens_BT)

  def _outputs(self, x_BTD, table_VD):
    weight = functools.partial(dims_lib.weight, self, dims=self.dims)
    if self.head.layer:
      x_BTD @= weight('transform_DC', fan_in(1), C=self.dim).astype(self.dtype)
      x_BTD += weight('transform_bias_C', nn.initializers.zeros, C=self.dim).astype(self.dtype)
      x_BTD = ACTIVATIONS[self.mlp.activation](x_BTD)
      x_BTD = make_norm(self.norm, self.biases, self.dtype, 'transform_norm')(x_BTD)
    if self.head.scale != 1:
      x_BTD *= self.head.scale
    width = self.outputs or self.vocabulary
    # Contract with the table itself: XLA may materialize its transpose for each token.
    if self.shares_table:
      product, head = 'BTD,VD->BTV', table_VD
    else:
      product, head = 'BTD,DV->BTV', weight('head_DV', fan_in(1), V=width)
    dtype = at_least_float32(x_BTD)
    y_BTV = jnp.einsum(product, x_BTD, head.astype(self.dtype), preferred_element_type=dtype)
    if 'head' in self.biases:
      y_BTV += weight('head_bias_V', nn.initializers.zeros, V=width)
    return y_BTV


def outputs_of(
  model: Any, params: Any, batch: 'Batch', *, relative: bool = False, **how: Any
) -> jax.Array:
  """Returns the outputs [B, T, V] for a `Batch`; `relative`: see `Stream.at`."""
  source = batch.source and (batch.source.x, batch.source.at(relative))
  outputs, _ = model.apply(
    {'params': params}, batch.stream.x, batch.stream.at(relative), source=source, **how
  )
  return outputs


@functools.partial(jax.jit, static_argnums=0)
def init(model: Any, rng: jax.Array) -> dict[str, Any]:
  """Returns the initial weights."""
  one = jnp.zeros((1, 1), jnp.int32)
  at = Positions(jnp.zeros((1, 1, model.axes), jnp.int32), one, one)
  first = jnp.zeros((1, 1, model.vectors)) if model.vectors else one
  x, source = (one, (first, at)) if model.encoder else (first, None)
  return model.init(rng, x, at, source=source, rng=rng)['params']
