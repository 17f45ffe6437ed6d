"""The Transformer: a stack of blocks over embedded tokens, with any encoding in each layer.

Vaswani et al. 2017, arXiv 1706.03762; a decoder alone: Radford et al. 2019 (GPT-2). The layers are
scanned, so that compiling costs the same at any depth.
"""

import dataclasses
import functools
from collections.abc import Mapping

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax import dims as dims_lib
from posjax.block import Block, fan_in, make_norm
from posjax.data import VOCABULARY
from posjax.dims import Dims
from posjax.encodings import At, Bound, Encoding, Tokens, build, name_of
from posjax.encodings.encoding import wide
from posjax.sharding import spread_rows, whole


@dataclasses.dataclass(frozen=True)
class Pattern:
  """Encoding and window of each layer, tiled over the depth.

  A plain value, so that Linen does not adopt the encodings as submodules: their weights are all in
  one place of the tree, params['encoding'][name], and swapping an encoding swaps one subtree.
  """

  encodings: tuple[Encoding, ...]
  windows: tuple[int, ...] = (0,)

  def __len__(self):
    return max(len(self.encodings), len(self.windows))

  @property
  def by_name(self):
    """Each encoding once; a second one of a class, with other arguments, is called 'rope_2'."""
    named = {}
    for encoding in self.encodings:
      alike = [other for other in named.values() if name_of(other) == name_of(encoding)]
      if encoding not in alike:
        named[name_of(encoding) + (f'_{len(alike) + 1}' if alike else '')] = encoding
    return named

  @property
  def limit(self):
    """How many positions all of the encodings can represent; None: any."""
    return min((e.limit for e in self.encodings if e.limit is not None), default=None)

  def init_weights(self, rng):
    return {
      name: encoding.init_weights(jax.random.fold_in(rng, i))
      for i, (name, encoding) in enumerate(self.by_name.items())
    }

  def layers(self):
    """(encoding, window) of each layer; a pattern of one goes with any other."""
    repeat = len(self)
    return zip(
      self.encodings * (repeat // len(self.encodings)),
      self.windows * (repeat // len(self.windows)),
      strict=True,
    )


@flax.struct.dataclass
class Cache:
  """Keys and values so far: one `Tokens` for each layer of the pattern, leaves [groups, B, S, ...].

  `length` counts the slots in use. Empty ones have segment -1, so that nothing sees them.
  """

  keys: tuple[Tokens, ...]
  length: jax.Array


class Group(nn.Module):
  """The layers of one pattern, one after the other: what is scanned over the depth."""

  windows: tuple[int, ...]
  block: Mapping

  @nn.compact
  def __call__(self, x_BTD, keys, slot, at, encodings):
    new_keys = []
    for i, window in enumerate(self.windows):
      block = Block(window=window, **self.block, name=f'block_{i}')
      x_BTD, new = block(x_BTD, keys and keys[i], slot, at, encodings[i])
      new_keys.append(new)
    return x_BTD, keys and tuple(new_keys)


class Transformer(nn.Module):
  """A decoder: tokens to logits of the next token. Fields are the config's section `model`."""

  pattern: Pattern
  vocabulary: int
  dim: int
  layers: int
  heads: int
  kv_heads: int
  head_dim: int
  hidden: int
  norm: str = 'rmsnorm'
  activation: str = 'swiglu'
  tied: bool = True
  dropout: float = 0.0
  remat: bool = False
  dtype: str = 'float32'
  attention: Mapping = flax.core.FrozenDict()
  causal: bool = True

  @property
  def dims(self):
    return Dims(
      D=self.dim, N=self.heads, K=self.kv_heads, H=self.head_dim, F=self.hidden, V=self.vocabulary
    )

  @nn.compact
  def __call__(self, tokens_BT, at, cache=None, *, train=False):
    """Logits [B, T, V] in float32 at least, and the cache with these tokens in it.

    Args:
      tokens_BT: the tokens' numbers.
      at: `At`, where they are.
      cache: from `init_cache`, or a former call; None: the tokens see each other only.
      train: whether to drop out; needs an rng named 'dropout' then.
    """
    table_VD = dims_lib.weight(self, 'table_VD', nn.initializers.normal(self.dim**-0.5), self.dims)
    weights = self.param('encoding', self.pattern.init_weights)
    encodings = {
      encoding: Bound(encoding, weights[name]) for name, encoding in self.pattern.by_name.items()
    }
    # Tokens have variance 1 here, and sinusoids 1/2: neither drowns the other.
    x_BTD = whole(table_VD.astype(self.dtype))[tokens_BT] * self.dim**0.5
    for encoding in encodings.values():
      x_BTD = encoding.embed(x_BTD, at)
    x_BTD = nn.Dropout(self.dropout, deterministic=not train)(spread_rows(x_BTD))

    layers = list(self.pattern.layers())
    bound = tuple(encodings[encoding] for encoding, _ in layers)
    stack = self._stack(windows=tuple(window for _, window in layers), train=train)
    keys, slot = (cache.keys, cache.length) if cache else (None, None)
    x_BTD, keys = stack(x_BTD, keys, slot, at, bound)
    x_BTD = make_norm(self.norm, self.dtype, 'norm')(x_BTD)
    if cache:
      cache = Cache(keys, slot + tokens_BT.shape[1])
    return self._logits(x_BTD, table_VD), cache

  def _stack(self, *, windows, train):
    if self.layers % len(windows):
      raise ValueError(f'{self.layers} layers are no multiple of a pattern of {len(windows)}')
    group = nn.remat(Group, prevent_cse=False) if self.remat else Group
    stack = nn.scan(
      group,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
      length=self.layers // len(windows),
    )
    block = dict(
      dims=self.dims, depth=self.layers, dtype=self.dtype, norm=self.norm,
      activation=self.activation, dropout=self.dropout, train=train, causal=self.causal,
      attention=self.attention,
    )
    return stack(windows=windows, block=block, name='layers')

  def _logits(self, x_BTD, table_VD):
    if self.tied:
      head_DV = table_VD.T
    else:
      head_DV = dims_lib.weight(self, 'head_DV', fan_in(1), self.dims)
    return jnp.einsum(
      'BTD,DV->BTV', x_BTD, head_DV.astype(self.dtype), preferred_element_type=wide(x_BTD)
    )

  def init_cache(self, batch, capacity, pos_dtype='int32'):
    """A cache of `capacity` empty slots for `batch` rows; `pos_dtype` is that of `At.pos`.

    Whoever fills it counts: tokens beyond the capacity overwrite the last slots.
    """
    shape = (self.layers // len(self.pattern), batch, capacity)
    heads = (*shape, self.kv_heads, self.head_dim)
    keys = Tokens(
      pos=jnp.zeros((*shape, 1), pos_dtype),
      order=jnp.zeros(shape, jnp.int32),
      segment_ids=jnp.full(shape, -1, jnp.int32),
      h=jnp.zeros(heads, self.dtype),
      v=jnp.zeros(heads, self.dtype),
    )
    return Cache((keys,) * len(self.pattern), jnp.int32(0))


def from_config(config):
  """The model of a resolved config. Raises UserError if the encoding's arguments do not fit it."""
  sizes = dict(config.model)
  windows = sizes.pop('windows')
  attention = flax.core.FrozenDict(config.attention)
  model = Transformer(pattern=None, vocabulary=VOCABULARY, attention=attention, **sizes)
  return model.clone(pattern=Pattern(build(model.dims, **config.encoding), windows))


@functools.partial(jax.jit, static_argnums=0)
def init(model, rng):
  """The first weights."""
  one = jnp.zeros((1, 1), jnp.int32)
  return model.init(rng, one, At(one[..., None], one, one))['params']
