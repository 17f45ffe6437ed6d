"""Recurrent baselines: LSTM, GRU or plain cells in place of attention; they need no positions.

Hochreiter and Schmidhuber 1997 (LSTM); Cho et al. 2014 (GRU), arXiv 1406.1078; Elman 1990. The
cells are Flax's. A layer is pre-norm and residual, like a layer of a Transformer. A cell starts
again where the segment changes, so that packed documents do not see each other, and it ignores
padding. The cells' weights are replicated on all devices.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax.encodings import Positions
from posjax.models.block import make_norm
from posjax.models.settings import NormSettings
from posjax.models.transformer import Transformer

CELLS = {'lstm': nn.OptimizedLSTMCell, 'gru': nn.GRUCell, 'rnn': nn.SimpleCell}


@flax.struct.dataclass
class RecurrentCache:
  """The state after the last token.

  carries  of the cells, leaves [L, B, D]
  segment  [B], the segment of the last token that is not padding; -1: there is none
  length   number of tokens so far
  """

  carries: Any
  segment: jax.Array
  length: jax.Array


class Step(nn.Module):
  """One cell, one token: the carry is (state of the cell, segment of the last token)."""

  kind: str
  dim: int
  dtype: str

  @nn.compact
  def __call__(self, carry: Any, token: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
    (state, last_B), (x_BD, segment_B) = carry, token
    valid_B1 = segment_B[:, None] >= 0
    begins_B1 = valid_B1 & (segment_B != last_B)[:, None]
    state = jax.tree.map(lambda old: jnp.where(begins_B1, 0, old), state)
    cell = CELLS[self.kind](self.dim, dtype=self.dtype, name='cell')
    new, y_BD = cell(state, x_BD)
    keep = lambda new, old: jnp.where(valid_B1, new, old).astype(old.dtype)
    state = jax.tree.map(keep, new, state)
    return (state, jnp.where(valid_B1[:, 0], segment_B, last_B)), y_BD


class Layer(nn.Module):
  """A norm and a cell over all tokens of a row; the output is added to the stream."""

  kind: str
  dim: int
  dtype: str
  norm: NormSettings
  biases: tuple[str, ...]
  dropout: float
  train: bool

  @nn.compact
  def __call__(
    self, x_BTD: jax.Array, carry: Any, segment_B: jax.Array, segment_ids_BT: jax.Array
  ) -> tuple[jax.Array, Any]:
    h_BTD = make_norm(self.norm, self.biases, self.dtype, 'norm')(x_BTD)
    over_time = nn.scan(
      Step, variable_broadcast='params', split_rngs={'params': False}, in_axes=1, out_axes=1
    )
    step = over_time(self.kind, self.dim, self.dtype, name='step')
    (carry, _), y_BTD = step((carry, segment_B), (h_BTD, segment_ids_BT))
    drop = nn.Dropout(self.dropout, deterministic=not self.train)
    return x_BTD + drop(y_BTD.astype(x_BTD.dtype)), carry


class Recurrent(Transformer):
  """A model with recurrent cells; its interface is that of a decoder."""

  kind: str = 'lstm'

  def run(
    self, x_BTD: jax.Array, at: Positions, cache: RecurrentCache | None, source: None, *,
    train: bool, rng: jax.Array | None,
  ) -> tuple[jax.Array, RecurrentCache | None]:
    """See `Stack.run`; positions do not matter, only segments."""
    B, T = x_BTD.shape[:2]
    x_BTD = nn.Dropout(self.dropout, deterministic=not train)(x_BTD)
    start = cache or self.init_cache(B, T)
    segment_ids_BT = jnp.broadcast_to(at.segment_ids, (B, T)).astype(jnp.int32)
    stack = nn.scan(
      Layer, variable_axes={'params': 0}, split_rngs={'params': True, 'dropout': True},
      in_axes=(0, nn.broadcast, nn.broadcast), length=self.layers,
    )
    layers = stack(
      self.kind, self.dim, self.dtype, self.norm, self.biases, self.dropout, train, name='cells'
    )
    x_BTD, carries = layers(x_BTD, start.carries, start.segment, segment_ids_BT)
    x_BTD = make_norm(self.norm, self.biases, self.dtype, 'norm')(x_BTD)
    if cache is not None:
      # The last token that is not padding: segment ids never decrease within a row.
      segment_B = jnp.maximum(cache.segment, jnp.max(segment_ids_BT, axis=1))
      cache = RecurrentCache(carries, segment_B, cache.length + T)
    return x_BTD, cache

  def init_cache(self, batch: int, capacity: int, **unused: Any) -> RecurrentCache:
    """Returns the state before the first token; its size does not depend on the capacity."""
    dtype = jnp.promote_types(self.dtype, jnp.float32)
    zero = jnp.zeros((self.layers, batch, self.dim), dtype)
    carries = (zero, zero) if self.kind == 'lstm' else zero
    return RecurrentCache(carries, jnp.full(batch, -1, jnp.int32), jnp.int32(0))

  def grow(self, cache: RecurrentCache, slots: int) -> RecurrentCache:
    return cache

  def take_rows(self, cache: RecurrentCache, rows: jax.Array) -> RecurrentCache:
    carries = jax.tree.map(lambda x: x[:, rows], cache.carries)
    return cache.replace(carries=carries, segment=cache.segment[rows])

  def unstack(self, params: Any) -> Any:
    return params

  def visible_pairs(self, T: int) -> int:
    return 0
