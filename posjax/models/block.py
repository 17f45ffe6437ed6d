"""One layer of a Transformer: attention, then an MLP; each normalizes the stream and adds to it.

Pre-norm form (Xiong et al. 2020, arXiv 2002.04745), RMSNorm (Zhang and Sennrich 2019, arXiv
1910.07467), SwiGLU (Shazeer 2020, arXiv 2002.05202), grouped-query heads (Ainslie et al. 2023,
arXiv 2305.13245). Weights are float32; the computation is in `dtype`.
"""

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

  keys   `AttentionInput`, leaves [B, S, ...], but h and v [B, K, S, H], the layout of products.
         Token t is in slot t % S. An empty slot has segment -1, so that no query sees it.
         None: the layer stores no keys
  state  the state of the layer's encoding
  ring   whether tokens may outnumber slots, so that new keys overwrite old ones
  """

  keys: AttentionInput | None
  state: Any
  ring: bool = flax.struct.field(pytree_node=False, default=False)


class Sublayer(nn.Module):
  """The base of both halves of a block: float32 weights, cast to `dtype` for computation."""

  dims: Dims
  depth: int  # of the entire stack: the sum of what its layers add has the variance of one
  dtype: str

  def weight(self, name: str, init: Callable[..., jax.Array]) -> jax.Array:
    return dims_lib.weight(self, name, init, self.dims).astype(self.dtype)


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
    q_BTNH = product(x_BTD, self.weight('query_DNH', fan_in(1)))
    k_BTKH = product(x_BTD, self.weight('key_DKH', fan_in(1)))
    v_BTKH = product(x_BTD, self.weight('value_DKH', fan_in(1)))
    features, state = encoding.features(x_BTD, at, memory.state)
    q = encoding.query(at.attach(q_BTNH * self.dims.scale, v_BTKH, features))
    k = encoding.key(at.attach(k_BTKH, v_BTKH, features))
    how = dict(causal=self.causal, window=self.window, **self.attention)
    keys = memory.keys
    if keys is None:
      o_BTNH = attend(q, k, encoding, **how)
    else:
      o_BTNH, keys = attend_stored(q, k, keys, length, encoding, ring=memory.ring, **how)
    o_BTD = product(o_BTNH, self.weight('output_NHD', fan_in(2, 0.5 / self.depth)), axes=2)
    return o_BTD, memory.replace(keys=keys, state=state)


def cheap(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  """Recomputes `function` in the backward pass: its intermediates are not worth the memory."""
  return jax.checkpoint(function, prevent_cse=False)


def swiglu(h_BTF: jax.Array, gate_BTF: jax.Array) -> jax.Array:
  return h_BTF * nn.silu(gate_BTF)


class Mlp(Sublayer):
  activation: str

  @nn.compact
  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    h_BTF = product(x_BTD, self.weight('up_DF', fan_in(1)))
    if self.activation == 'swiglu':
      h_BTF = cheap(swiglu)(h_BTF, product(x_BTD, self.weight('gate_DF', fan_in(1))))
    else:
      h_BTF = cheap(nn.gelu)(h_BTF)
    return product(h_BTF, self.weight('down_FD', fan_in(1, 0.5 / self.depth)))


def make_norm(kind: str, dtype: str, name: str) -> nn.Module:
  norm = {'rmsnorm': nn.RMSNorm, 'layernorm': nn.LayerNorm}[kind]
  return nn.remat(norm, prevent_cse=False)(epsilon=1e-6, dtype=dtype, name=name)


class Block(nn.Module):
  """One layer: attention, then an MLP; each reads the normalized stream and adds to it."""

  dims: Dims
  depth: int
  dtype: str
  norm: str
  activation: str
  dropout: float
  train: bool
  causal: bool
  window: int
  attention: Mapping  # implementation and block size, see `attend`

  @nn.compact
  def __call__(
    self, x_BTD: jax.Array, memory: LayerCache, length: jax.Array | None, at: Positions,
    encoding: Bound,
  ) -> tuple[jax.Array, LayerCache]:
    drop = nn.Dropout(self.dropout, deterministic=not self.train)
    attention = Attention(
      self.dims, self.depth, self.dtype, self.causal, self.window, self.attention,
      name='attention',
    )
    mlp = Mlp(self.dims, self.depth, self.dtype, self.activation, name='mlp')
    h_BTD = make_norm(self.norm, self.dtype, 'attention_norm')(x_BTD)
    o_BTD, memory = attention(h_BTD, memory, length, at, encoding)
    x_BTD = x_BTD + drop(o_BTD)
    h_BTD = make_norm(self.norm, self.dtype, 'mlp_norm')(x_BTD)
    x_BTD = x_BTD + drop(mlp(h_BTD))
    return constrain_batch(x_BTD), memory
