"""One layer of a Transformer: attention, then an MLP; each normalizes the stream and adds to it.

Pre-norm form (Xiong et al. 2020, arXiv 2002.04745), RMSNorm (Zhang and Sennrich 2019, arXiv
1910.07467), SwiGLU (Shazeer 2020, arXiv 2002.05202), grouped-query heads (Ainslie et al. 2023,
arXiv 2305.13245). In a decoder next to an encoder, attention to the encoder's outputs comes between
both (Vaswani et al. 2017, arXiv 1706.03762). Weights are float32; the computation is in `dtype`.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax
import jax
from flax import linen as nn

from posjax import dims as dims_lib
from posjax.attention import attend
from posjax.attention.decode import attend_stored
from posjax.dims import Dims
from posjax.encodings import AttentionInput, Bound, Positions
from posjax.models.product import product
from posjax.models.settings import ACTIVATIONS, MlpSettings, NormSettings
from posjax.sharding import constrain_batch


def fan_in(inputs: int, scale: float = 1.0) -> Callable[..., jax.Array]:
  """Returns a normal initializer of variance scale / fan-in; the first `inputs` axes are summed."""

  def init(rng, shape, dtype):
    stddev = math.sqrt(scale / math.prod(shape[:inputs]))
    return stddev * jax.random.normal(rng, shape, dtype)

  return init


@flax.struct.dataclass
class LayerCache:
  """The cache of one layer.

  keys    `AttentionInput`, leaves [B, S, ...], but h and v [B, K, S, H], the layout of products.
          Token t is in slot t % S. An empty slot has segment -1, so that no query sees it.
          None: the layer stores no keys
  state   the state of the layer's encoding
  source  the keys of the encoder's outputs, `AttentionInput`, h and v [B, S, K, H]; None: there is
          no encoder, or no tokens came yet
  ring    whether tokens may outnumber slots, so that new keys overwrite old ones
  """

  keys: AttentionInput | None
  state: Any
  source: AttentionInput | None = None
  ring: bool = flax.struct.field(pytree_node=False, default=False)


@flax.struct.dataclass
class Source:
  """The outputs of an encoder, as the layers of a decoder read them.

  x         [B, S, D]; None: they were read before, and each layer's cache has their keys
  at        positions of x
  query_at  positions of the decoder's tokens, for the same encoding
  """

  x: jax.Array | None
  at: Positions | None
  query_at: Positions


class Sublayer(nn.Module):
  """The base of the parts of a block: float32 weights, cast to `dtype` for computation."""

  dims: Dims
  depth: int  # of the entire stack: the sum of what its layers add has the variance of one
  dtype: str
  biases: tuple[str, ...]

  def weight(self, name: str, init: Callable[..., jax.Array]) -> jax.Array:
    return dims_lib.weight(self, name, init, self.dims).astype(self.dtype)

  def project(self, x: jax.Array, name: str, scale: float = 1.0, axes: int = 1) -> jax.Array:
    """Returns the product of `x` and weight `name`, over `axes` axes, plus its bias if it has one.

    The elements of the initial weight have the variance `scale` / fan-in.
    """
    y = product(x, self.weight(name, fan_in(axes, scale)), axes)
    noun, _, letters = name.partition('_')
    if noun in self.biases:
      y += self.weight(f'{noun}_bias_{letters[axes:]}', nn.initializers.zeros)
    return y


class Attention(Sublayer):
  """Projections, the encoding's hooks, attention, and the output projection."""

  causal: bool
  window: int
  attention: Mapping

  @nn.compact
  def __call__(
    self, x_BTD: jax.Array, memory: LayerCache, length: jax.Array | None, at: Positions,
    encoding: Bound,
  ) -> tuple[jax.Array, LayerCache]:
    """`memory` may hold keys of `length` tokens; the keys of `x_BTD` are then added to it."""
    q_BTNH = self.project(x_BTD, 'query_DNH')
    k_BTKH, v_BTKH = self.project(x_BTD, 'key_DKH'), self.project(x_BTD, 'value_DKH')
    features, state = encoding.features(x_BTD, at, memory.state)
    q = encoding.query(at.attach(q_BTNH * self.dims.scale, v_BTKH, features))
    k = encoding.key(at.attach(k_BTKH, v_BTKH, features))
    how = dict(causal=self.causal, window=self.window, **self.attention)
    keys = memory.keys
    if keys is None:
      o_BTNH = attend(q, k, encoding, **how)
    else:
      o_BTNH, keys = attend_stored(q, k, keys, length, encoding, ring=memory.ring, **how)
    o_BTD = self.project(o_BTNH, 'output_NHD', 0.5 / self.depth, axes=2)
    return o_BTD, memory.replace(keys=keys, state=state)


class CrossAttention(Sublayer):
  """Attention of a decoder's tokens to the outputs of an encoder; all of a segment are visible."""

  attention: Mapping

  @nn.compact
  def __call__(
    self, x_BTD: jax.Array, memory: LayerCache, source: Source, encoding: Bound
  ) -> tuple[jax.Array, LayerCache]:
    """With a cache, the keys of the source are computed by the first call, and stored."""
    q_BTNH = self.project(x_BTD, 'query_DNH') * self.dims.scale
    features, _ = encoding.features(x_BTD, source.query_at, ())
    q = encoding.query(source.query_at.attach(q_BTNH, None, features))
    k = memory.source
    if source.x is not None:
      k_BSKH, v_BSKH = self.project(source.x, 'key_DKH'), self.project(source.x, 'value_DKH')
      features, _ = encoding.features(source.x, source.at, ())
      k = encoding.key(source.at.attach(k_BSKH, v_BSKH, features))
    o_BTNH = attend(q, k, encoding, causal=False, **self.attention)
    stored = memory if memory.keys is None else memory.replace(source=k)
    return self.project(o_BTNH, 'output_NHD', 0.5 / self.depth, axes=2), stored


def cheap(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  """Recomputes `function` in the backward pass: its intermediates are not worth the memory."""
  return jax.checkpoint(function, prevent_cse=False)


class Mlp(Sublayer):
  settings: MlpSettings

  @nn.compact
  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    activation = ACTIVATIONS[self.settings.activation]
    h_BTF = self.project(x_BTD, 'up_DF')
    if self.settings.gated:
      gated = lambda h_BTF, gate_BTF: h_BTF * activation(gate_BTF)
      h_BTF = cheap(gated)(h_BTF, self.project(x_BTD, 'gate_DF'))
    else:
      h_BTF = cheap(activation)(h_BTF)
    return self.project(h_BTF, 'down_FD', 0.5 / self.depth)


def make_norm(settings: NormSettings, biases: tuple[str, ...], dtype: str, name: str) -> nn.Module:
  """Returns a norm; LayerNorm has a bias if `biases` has 'norm'."""
  own = dict(epsilon=settings.eps, dtype=dtype, name=name)
  own |= dict(scale_init=nn.initializers.constant(1 - settings.offset))
  if settings.kind == 'layernorm':
    # Flax's one-pass variance loses digits if the stream has a mean: 4e-2 at a mean of 300.
    kind, own = nn.LayerNorm, own | dict(use_bias='norm' in biases, use_fast_variance=False)
  else:
    kind = nn.RMSNorm
  return nn.remat(with_offset(kind, settings.offset), prevent_cse=False)(**own)


@functools.cache
def with_offset(kind: type[nn.Module], offset: float) -> type[nn.Module]:
  """Returns the norm `kind` with `offset` added to its scale."""
  if not offset:
    return kind

  class Offset(kind):
    def param(self, name, *args, **named):
      value = super().param(name, *args, **named)
      return value + offset if name == 'scale' else value

  return Offset


class Block(nn.Module):
  """One layer: attention, attention to an encoder if there is one, then an MLP.

  Each reads the stream and adds to it, with norms as `norm.where` says.
  """

  dims: Dims
  depth: int
  dtype: str
  norm: NormSettings
  mlp: MlpSettings
  biases: tuple[str, ...]
  dropout: float
  train: bool
  causal: bool
  window: int
  attention: Mapping  # implementation and block size, see `attend`

  @nn.compact
  def __call__(
    self, x_BTD: jax.Array, memory: LayerCache, length: jax.Array | None, at: Positions,
    encoding: Bound, source: Source | None = None, cross: Bound | None = None,
  ) -> tuple[jax.Array, LayerCache]:
    shared = self.dims, self.depth, self.dtype, self.biases
    attention = Attention(*shared, self.causal, self.window, self.attention, name='attention')
    drop = nn.Dropout(self.dropout, deterministic=not self.train)
    h_BTD = self.normed(x_BTD, 'before', 'attention')
    o_BTD, memory = attention(h_BTD, memory, length, at, encoding)
    x_BTD = self.add(x_BTD, o_BTD, drop, 'attention')
    if source is not None:
      h_BTD = self.normed(x_BTD, 'before', 'cross')
      attend_source = CrossAttention(*shared, self.attention, name='cross')
      o_BTD, memory = attend_source(h_BTD, memory, source, cross)
      x_BTD = self.add(x_BTD, o_BTD, drop, 'cross')
    o_BTD = Mlp(*shared, self.mlp, name='mlp')(self.normed(x_BTD, 'before', 'mlp'))
    return constrain_batch(self.add(x_BTD, o_BTD, drop, 'mlp')), memory

  def add(self, x_BTD: jax.Array, o_BTD: jax.Array, drop: nn.Dropout, name: str) -> jax.Array:
    """Adds the output of a sublayer to the stream."""
    return self.normed(x_BTD + drop(self.normed(o_BTD, 'added', name)), 'after', name)

  def normed(self, x_BTD: jax.Array, where: str, name: str) -> jax.Array:
    """Normalizes if the model has norms at this place."""
    if where not in self.norm.where:
      return x_BTD
    name = f'{name}_norm' if where == 'before' else f'{name}_{where}_norm'
    return make_norm(self.norm, self.biases, self.dtype, name)(x_BTD)
