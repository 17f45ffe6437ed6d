"""A stack of blocks over embedded tokens, with any encoding in each layer: encoder or decoder.

The layers are scanned, so that compile time does not depend on the depth.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.attention import decode
from posjax.attention.mask import in_chunks
from posjax.dims import Dims
from posjax.encodings import Bound, Positions
from posjax.encodings.core.declarations import Limit
from posjax.errors import UserError
from posjax.models.block import Block, LayerCache, Source, make_norm
from posjax.models.pattern import Pattern, check_axes, with_layer
from posjax.models.settings import EmbeddingSettings, MlpSettings, NormSettings
from posjax.sharding import constrain_batch


@flax.struct.dataclass
class Cache:
  """The cache of a model.

  layers  a `LayerCache` for each layer, by group, then by layer of the pattern
  states  states of the sequence of each encoding, by name, for the hook `positions`
  length  number of tokens so far
  """

  layers: tuple[tuple[LayerCache, ...], ...]
  states: dict[str, Any]
  length: jax.Array


class Group(nn.Module):
  """The layers of one pattern in order; the model scans it over the depth."""

  windows: tuple[int, ...]
  block: Mapping

  @nn.compact
  def __call__(
    self, x_BTD: jax.Array, caches: tuple[LayerCache, ...], weights: tuple[Any, ...],
    length: jax.Array | None, ats: tuple[Positions, ...], encodings: tuple[Bound, ...],
    source: Source | None, crosses: tuple[Bound, ...],
  ) -> tuple[jax.Array, tuple[LayerCache, ...]]:
    caches = list(caches)
    own, cross_own = weights
    for i, window in enumerate(self.windows):
      block = Block(window=window, **self.block, name=f'block_{i}')
      encoding = with_layer(encodings[i], own[i])
      cross = with_layer(crosses[i], cross_own[i]) if crosses else None
      x_BTD, caches[i] = block(x_BTD, caches[i], length, ats[i], encoding, source, cross)
    return x_BTD, tuple(caches)


class Stack(nn.Module):
  """Maps vectors to vectors through all layers. Fields: the config's section `model`."""

  pattern: Pattern
  dim: int
  layers: int
  heads: int
  kv_heads: int
  head_dim: int
  hidden: int
  norm: NormSettings = NormSettings()
  mlp: MlpSettings = MlpSettings()
  embedding: EmbeddingSettings = EmbeddingSettings()
  biases: tuple[str, ...] = ('norm',)
  query_scale: float = 0.0
  dropout: float = 0.0
  remat: bool = False
  dtype: str = 'float32'
  attention: Mapping = flax.core.FrozenDict()
  causal: bool = True
  axes: int = 1  # axes of a position
  cross: Pattern | None = None  # of attention to an encoder; None: there is no encoder

  @property
  def dims(self) -> Dims:
    return Dims(
      D=self.dim, N=self.heads, K=self.kv_heads, H=self.head_dim, F=self.hidden,
      query_scale=self.query_scale, causal=self.causal, P=self.axes,
    )

  @property
  def groups(self) -> int:
    """The number of repetitions of the pattern."""
    if self.layers % len(self.pattern):
      raise ValueError(
        f'{self.layers} layers are not a multiple of a pattern of {len(self.pattern)}'
      )
    return self.layers // len(self.pattern)

  @property
  def shift_invariant(self) -> bool:
    """Whether adding a constant to all positions changes no output."""
    return self.pattern.shift_invariant

  @property
  def limit(self) -> Limit:
    """The positions that all encodings can represent, on all axes or on each; None: any."""
    return self.pattern.limit

  def visible_pairs(self, T: int) -> int:
    """Returns the visible pairs of a query and a key in a row, over all layers and any encoder."""
    return self.groups * self.pattern.visible_pairs(T, self.causal, self.axes)

  @nn.compact
  def __call__(self, x_BTD: jax.Array, at: Positions, **how: Any) -> jax.Array:
    """Returns the vectors [B, T, D] after the last layer; for the arguments see `run`."""
    return self.run(x_BTD, at, None, None, **how)[0]

  def run(
    self, x_BTD: jax.Array, at: Positions, cache: Cache | None,
    source: tuple[jax.Array, Positions] | None, *, train: bool, rng: jax.Array | None,
  ) -> tuple[jax.Array, Cache | None]:
    """Returns the vectors after the last layer, and the cache with these tokens added.

    Args:
      x_BTD: embedded tokens.
      at: their positions, with token ids.
      cache: see `Transformer`.
      source: outputs of the encoder and their positions; None: none, or read before.
      train: whether to apply dropout.
      rng: a key, if an encoding draws positions.
    """
    weights = self.param('encoding', self.pattern.init_weights, self.groups)
    if cache is None:
      B, T = x_BTD.shape[:2]
      states, layers = self.pattern.init_states(B, T, self.groups, train=train, rng=rng)
    else:
      states = cache.states
    x_BTD, ats, states = self._embed(x_BTD, at, weights, states)
    if self.embedding.norm:
      x_BTD = make_norm(self.norm, self.biases, self.dtype, 'embedding_norm')(x_BTD)
    x_BTD = nn.Dropout(self.dropout, deterministic=not train)(constrain_batch(x_BTD))

    kinds = self.pattern.layers()
    bound, own_weights = self.pattern.in_layers(weights, self.groups)
    source, crosses, cross_weights = self._cross(at, source)
    seen = tuple(in_chunks(ats[own.encoding], at.pos, own.chunk, own.shift) for own in kinds)
    context = seen, bound, source, crosses
    windows = tuple(own.window for own in kinds)
    group = functools.partial(Group, windows=windows, block=self._block(train))
    own_weights = own_weights, cross_weights
    if cache is None:
      caches = tuple(LayerCache(None, state) for state in layers)
      x_BTD = self._scan(group, x_BTD, caches, own_weights, context)
    else:
      x_BTD, layers = self._unrolled(group(parent=None), x_BTD, cache, own_weights, context)
      cache = Cache(layers, states, cache.length + x_BTD.shape[1])
    if 'after' not in self.norm.where:
      x_BTD = make_norm(self.norm, self.biases, self.dtype, 'norm')(x_BTD)
    return x_BTD, cache

  def _embed(self, x_BTD, at, weights, states):
    """Returns embeddings, the positions that each encoding uses, by name, and the new states."""
    ats, states, dtype = {}, dict(states), jnp.promote_types(self.dtype, jnp.float32)
    for name, encoding in self.pattern.all_layers(self.groups).items():
      if self.causal and encoding.looks_ahead:
        raise UserError(f'encoding.{name}: it reads later tokens, which this model must predict')
      if encoding.causal_only and not self.causal:
        raise UserError(f'encoding.{name}: it is causal only, but this model sees later tokens')
      if encoding.reads_ids and isinstance(at.ids, tuple):
        raise UserError(f'encoding.{name}: it reads token ids, but the tokens here are vectors')
      check_axes(name, encoding, at.pos.shape[-1])
      encoding = Bound(encoding, weights[name])
      ats[name], states[name] = encoding.locate(at, states[name], dtype)
      x_BTD, states[name] = encoding.embed(x_BTD, ats[name], states[name])
      ats[name] = ats[name].replace(ids=())
    return x_BTD, ats, states

  def _cross(self, at, source):
    """Returns the `Source` for all layers, the encoding of each layer's attention to it, and the
    weights of these encodings; all empty without an encoder."""
    if self.cross is None:
      return None, (), ()
    weights = self.param('cross', self.cross.init_weights, self.groups)
    bound, own_weights = self.cross.in_layers(weights, self.groups)
    dtype = jnp.promote_types(self.dtype, jnp.float32)
    locate = lambda at: bound[0].locate(at, (), dtype)[0].replace(ids=())
    x_BSD, source_at = source or (None, None)
    source = Source(x_BSD, source_at and locate(source_at), locate(at))
    return source, bound, own_weights

  def _block(self, train):
    return dict(
      dims=self.dims, depth=self.layers, dtype=self.dtype, norm=self.norm, mlp=self.mlp,
      biases=self.biases, dropout=self.dropout, train=train, causal=self.causal,
      attention=self.attention,
    )

  def _scan(self, group, x_BTD, caches, weights, context):
    """Scans over all groups, so that one group is compiled."""
    stack = nn.scan(
      nn.remat(Group, prevent_cse=False) if self.remat else Group,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=(0, 0, *[nn.broadcast] * 5),
      length=self.groups,
    )
    return stack(**group.keywords, name='layers')(x_BTD, caches, weights, None, *context)[0]

  def _unrolled(self, group, x_BTD, cache, weights, context):
    """Runs group after group: a scan would copy each group's weights and keys for every token."""
    layers, params = [], unstacked(self.get_variable('params', 'layers'), self.groups)
    weights = unstacked(weights, self.groups)
    for own, caches, weight in zip(params, cache.layers, weights, strict=True):
      x_BTD, caches = group.apply(
        {'params': own}, x_BTD, caches, weight, cache.length, *context
      )
      layers.append(caches)
    return x_BTD, tuple(layers)

  def init_cache(
    self, batch: int, capacity: int, *, slots: int | None = None,
    pos_dtype: jax.typing.DTypeLike = 'int32', rng: jax.Array | None = None,
  ) -> Cache:
    """Returns an empty cache of `batch` rows.

    Args:
      batch: rows.
      capacity: the most tokens that a row will hold, for encodings that depend on it.
      slots: tokens that fit before `grow` is needed; None: `capacity`. A layer with a window or
        chunks has no more slots than its window or chunk. The caller counts the tokens: without
        `grow`, later tokens overwrite the first.
      pos_dtype: the dtype of `Positions.pos`.
      rng: a key, needed if an encoding draws positions: it draws once for all later tokens.
    """
    states, layers = self.pattern.init_states(
      batch, capacity, self.groups, train=False, rng=rng
    )
    room = self._slots(slots or capacity)

    def group(layers):
      caches = []
      for own, state, slots in zip(self.pattern.layers(), layers, room, strict=True):
        keys = functools.partial(self._keys, self.pattern.by_name[own.encoding], pos_dtype)
        one = jax.eval_shape(keys, states[own.encoding], state)
        ring = bool(own.window or self._in_line(own.chunk))
        caches.append(LayerCache(decode.empty(one, batch, slots), state, ring=ring))
      return tuple(caches)

    return Cache(tuple(map(group, unstacked(layers, self.groups))), states, jnp.int32(0))

  def grow(self, cache: Cache, slots: int) -> Cache:
    """Returns the cache with room for `slots` tokens in each row."""
    room = self._slots(slots)
    return cache.replace(layers=tuple(
      tuple(
        memory.replace(keys=decode.grow(memory.keys, n))
        for memory, n in zip(caches, room, strict=True)
      ) for caches in cache.layers
    ))

  def take_rows(self, cache: Cache, rows: jax.Array) -> Cache:
    """Returns the cache with other rows, or more, or in another order."""
    return jax.tree.map(lambda x: x[rows] if x.ndim and len(x) > 1 else x, cache)

  def unstack(self, params: Any) -> Any:
    """Returns the weights with separate arrays for each group of layers, as decoding reads them."""
    return params | {'layers': unstacked(params['layers'], self.groups)}

  def _slots(self, slots):
    """Returns the slots of each layer of the pattern; a layer that sees all tokens has `slots`."""
    return [
      min(own.window or slots, self._in_line(own.chunk) or slots, slots)
      for own in self.pattern.layers()
    ]

  def _in_line(self, chunk):
    """Returns the tokens of a chunk if they come one after the other; on a grid they do not: 0."""
    return chunk if self.axes == 1 else 0

  def _keys(self, encoding, pos_dtype, state, layer_state):
    """Returns the key of one token after the encoding's hooks: shapes and dtypes for the cache."""
    bound = Bound(encoding, encoding.init_weights(jax.random.key(0)))
    batch = max((len(x) for x in jax.tree.leaves((state, layer_state))), default=1)
    one = jnp.zeros((batch, 1), jnp.int32)
    at = Positions(jnp.zeros((batch, 1, self.axes), pos_dtype), one, one, ids=one)
    pos, _ = bound.positions(at, state)
    at = Positions(pos, one, one)
    features, _ = bound.features(jnp.zeros((batch, 1, self.dim), self.dtype), at, layer_state)
    h = jnp.zeros((batch, 1, self.kv_heads, self.head_dim), self.dtype)
    return bound.key(at.attach(h, h, features))


def unstacked(tree: Any, groups: int) -> list[Any]:
  """Splits a tree with leaves [groups, ...] into a list, one tree per group; a list stays as is."""
  if isinstance(tree, list):
    return tree
  return [jax.tree.map(lambda x, i=i: x[i], tree) for i in range(groups)]
