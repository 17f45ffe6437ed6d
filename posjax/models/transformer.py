"""The Transformer: a stack of blocks over embedded tokens, with any encoding in each layer.

Vaswani et al. 2017, arXiv 1706.03762; decoder-only: Radford et al. 2019 (GPT-2). The layers are
scanned, so that compile time does not depend on the depth.
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax import dims as dims_lib
from posjax.attention import check_fused, decode
from posjax.attention.mask import in_chunks
from posjax.dims import Dims
from posjax.encodings import Bound, Positions, build
from posjax.encodings.core.arrays import at_least_float32
from posjax.encodings.core.entry import checked
from posjax.errors import UserError
from posjax.models.block import Block, LayerCache, fan_in, make_norm
from posjax.models.pattern import Pattern, check_axes, with_layer
from posjax.sharding import constrain_batch, replicated

if TYPE_CHECKING:
  from ml_collections import ConfigDict

  from posjax.tasks import Task


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
  ) -> tuple[jax.Array, tuple[LayerCache, ...]]:
    caches = list(caches)
    for i, window in enumerate(self.windows):
      block = Block(window=window, **self.block, name=f'block_{i}')
      encoding = with_layer(encodings[i], weights[i])
      x_BTD, caches[i] = block(x_BTD, caches[i], length, ats[i], encoding)
    return x_BTD, tuple(caches)


class Transformer(nn.Module):
  """Maps tokens to outputs, such as next-token logits. Fields: the config's section `model`."""

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
  outputs: int | None = None  # per token; None: the size of the vocabulary
  axes: int = 1  # axes of a position

  @property
  def shares_table(self) -> bool:
    """Whether the output head is the token table."""
    return self.tied and self.outputs in (None, self.vocabulary)

  @property
  def dims(self) -> Dims:
    return Dims(
      D=self.dim, N=self.heads, K=self.kv_heads, H=self.head_dim, F=self.hidden, V=self.vocabulary
    )

  @property
  def groups(self) -> int:
    """The number of repetitions of the pattern."""
    if self.layers % len(self.pattern):
      raise ValueError(
        f'{self.layers} layers are not a multiple of a pattern of {len(self.pattern)}'
      )
    return self.layers // len(self.pattern)

  @nn.compact
  def __call__(
    self, tokens_BT: jax.Array, at: Positions, cache: Cache | None = None, *, train: bool = False,
    rng: jax.Array | None = None,
  ) -> tuple[jax.Array, Cache | None]:
    """Returns logits [B, T, V] in float32 or wider, and the cache with these tokens added.

    Args:
      tokens_BT: token ids.
      at: the `Positions` of the tokens.
      cache: from `init_cache`, or a previous call; None: the tokens see only each other.
      train: whether to apply dropout, which needs an rng named 'dropout'.
      rng: a key, if an encoding draws positions and `cache` is None (a cache holds the draw).

    Raises:
      ValueError: one line, if `at` has another shape, or a dtype that cannot count tokens.
    """
    at = checked(at, *tokens_BT.shape)
    table_VD = dims_lib.weight(self, 'table_VD', nn.initializers.normal(self.dim**-0.5), self.dims)
    weights = self.param('encoding', self.pattern.init_weights, self.groups)
    if cache is None:
      B, T = tokens_BT.shape
      states, layers = self.pattern.init_states(B, T, self.groups, train=train, rng=rng)
    else:
      states = cache.states
    # Tokens then have variance 1 and sinusoids 1/2, so that neither dominates.
    x_BTD = replicated(table_VD.astype(self.dtype))[tokens_BT] * self.dim**0.5
    x_BTD, ats, states = self._embed(x_BTD, at.replace(ids=tokens_BT), weights, states)
    x_BTD = nn.Dropout(self.dropout, deterministic=not train)(constrain_batch(x_BTD))

    kinds = self.pattern.layers()
    bound, own_weights = self.pattern.in_layers(weights, self.groups)
    context = tuple(in_chunks(ats[own.encoding], at.pos, own.chunk) for own in kinds), bound
    windows = tuple(own.window for own in kinds)
    group = functools.partial(Group, windows=windows, block=self._block(train))
    if cache is None:
      caches = tuple(LayerCache(None, state) for state in layers)
      x_BTD = self._scan(group, x_BTD, caches, own_weights, context)
    else:
      x_BTD, layers = self._unrolled(group(parent=None), x_BTD, cache, own_weights, context)
    x_BTD = make_norm(self.norm, self.dtype, 'norm')(x_BTD)
    if cache is not None:
      cache = Cache(layers, states, cache.length + tokens_BT.shape[1])
    return self._logits(x_BTD, table_VD), cache

  def _embed(self, x_BTD, at, weights, states):
    """Returns embeddings, the positions that each encoding uses, by name, and the new states."""
    ats, states, dtype = {}, dict(states), jnp.promote_types(self.dtype, jnp.float32)
    for name, encoding in self.pattern.all_layers(self.groups).items():
      if self.causal and encoding.looks_ahead:
        raise UserError(f'encoding.{name}: it reads later tokens, which this model must predict')
      if encoding.causal_only and not self.causal:
        raise UserError(f'encoding.{name}: it is causal only, but this model sees later tokens')
      check_axes(name, encoding, at.pos.shape[-1])
      encoding = Bound(encoding, weights[name])
      ats[name], states[name] = encoding.locate(at, states[name], dtype)
      x_BTD, states[name] = encoding.embed(x_BTD, ats[name], states[name])
      ats[name] = ats[name].replace(ids=())
    return x_BTD, ats, states

  def _block(self, train):
    return dict(
      dims=self.dims, depth=self.layers, dtype=self.dtype, norm=self.norm,
      activation=self.activation, dropout=self.dropout, train=train, causal=self.causal,
      attention=self.attention,
    )

  def _scan(self, group, x_BTD, caches, weights, context):
    """Scans over all groups, so that one group is compiled."""
    stack = nn.scan(
      nn.remat(Group, prevent_cse=False) if self.remat else Group,
      variable_axes={'params': 0},
      split_rngs={'params': True, 'dropout': True},
      in_axes=(0, 0, nn.broadcast, nn.broadcast, nn.broadcast),
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

  def _logits(self, x_BTD, table_VD):
    # Contract with the table itself: XLA may materialize its transpose for each token.
    if self.shares_table:
      product, head = 'BTD,VD->BTV', table_VD
    else:
      width = self.outputs or self.vocabulary
      head = dims_lib.weight(self, 'head_DV', fan_in(1), self.dims, V=width)
      product = 'BTD,DV->BTV'
    dtype = at_least_float32(x_BTD)
    return jnp.einsum(product, x_BTD, head.astype(self.dtype), preferred_element_type=dtype)

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
        ring = bool(own.window or own.chunk)
        caches.append(LayerCache(decode.empty(one, batch, slots), state, ring))
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

  def _slots(self, slots):
    """Returns the slots of each layer of the pattern; a layer that sees all tokens has `slots`."""
    return [min(own.window or slots, own.chunk or slots, slots) for own in self.pattern.layers()]

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


def from_config(config: 'ConfigDict', task: 'Task') -> Transformer:
  """Returns the model of a resolved config for a `Task`.

  Raises:
    UserError: the task does not support the form, or the encoding's arguments do not fit the model.
  """
  sizes = dict(config.model)
  windows, chunks, form = (sizes.pop(key) for key in ('windows', 'chunks', 'form'))
  form = task.forms[0] if form == 'auto' else form
  if form not in task.forms:
    raise UserError(
      f'model.form = {form}: task.name is {config.task.name}, which supports '
      f'{" or ".join(task.forms)}; auto selects {"the first" * (len(task.forms) > 1) or "that"}'
    )
  attention = flax.core.FrozenDict(config.attention)
  model = Transformer(
    pattern=None, vocabulary=task.vocabulary, outputs=task.outputs, causal=form == 'decoder',
    axes=task.axes, attention=attention, **sizes,
  )
  encodings = build(model.dims, **config.encoding)
  if config.attention.implementation == 'fused':
    for encoding in encodings:
      check_fused(encoding)
  names = tuple(config.encoding.layers)
  return model.clone(pattern=Pattern(encodings, windows, names, chunks))


@functools.partial(jax.jit, static_argnums=0)
def init(model: Transformer, rng: jax.Array) -> dict[str, Any]:
  """Returns the initial weights."""
  one = jnp.zeros((1, 1), jnp.int32)
  at = Positions(jnp.zeros((1, 1, model.axes), jnp.int32), one, one)
  return model.init(rng, one, at, rng=rng)['params']
