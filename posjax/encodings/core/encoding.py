"""The interface: how a Transformer learns where its tokens are.

An encoding is a small Linen module that overrides the hooks it needs. Hooks are sorted by how often
they run: once per sequence, once per token in every layer, once per block of keys, once per pair of
blocks, once per query in the end. None but `init_state` is given a length, and none calls `arange`:
positions come with the tokens of either end, so a cached context, a packed row, a block of keys and
an encoder's memory are all the same call. A hook sees its arguments and its weights, nothing else,
and returns the structure, shapes and dtypes that it was given. docs/encodings.md writes one step by
step.

Attention and layers see a `Bound` encoding, a pytree of (weights, static module), and never a live
Linen scope: it passes through `scan`, `remat`, `vmap` and `shard_map` like an array.
"""

import dataclasses
from typing import ClassVar

from flax import linen as nn

from posjax import dims as dims_lib
from posjax.encodings.core.toeplitz import unfold
from posjax.encodings.core.tokens import State


class Encoding(nn.Module):
  """An encoding that does nothing; subclasses override what they need.

  Arguments are dataclass fields: numbers, strings, tuples and mappings of them. Weights are made in
  `setup` with `self.weight`. What stands here as a class variable is a trait: it tells the rest of
  the program and the reader what to expect, and the tests hold each encoding to what it declares.
  """

  dims: dims_lib.Dims | None = dataclasses.field(default=None, kw_only=True)  # from with_dims

  shift_invariant: ClassVar[bool] = True  # adding a constant to all positions changes no output
  whole_positions: ClassVar[bool] = False  # positions are indices: no fractions
  # How many positions from 0 on it represents, on each axis if that is a tuple; None: any.
  limit: ClassVar[int | tuple[int, ...] | None] = None
  longer_tables: ClassVar[tuple[str, ...]] = ()  # whose first rows are those of shorter ones
  fractions: ClassVar[bool] = False  # it moves positions, and not to whole ones
  depends_on_capacity: ClassVar[str] = ''  # why what it does depends on how many tokens may come
  causal_only: ClassVar[bool] = False  # a query must not see keys of later order
  contiguous: ClassVar[bool] = False  # needs every key between a query and a key that it sees
  all_heads: ClassVar[bool] = False  # mixes heads: all of a pair's scores must be at one place
  looks_ahead: ClassVar[bool] = False  # embeddings read later tokens: no model of the next one
  reach: ClassVar[float] = 0  # tokens before one that its embedding or features read; inf: all
  sees_itself: ClassVar[bool] = True  # a query scores its own token's key
  axes: ClassVar[int | None] = 1  # of a position that it reads; None: it reads none, so any
  inert: ClassVar[tuple[str, ...]] = ()  # weights that provably change no output
  idle: ClassVar[tuple[str, ...]] = ()  # hooks that change nothing with these arguments
  normalizer: ClassVar[str] = 'softmax'  # 'none': `score` returns the logarithms of the weights
  own_score: ClassVar[bool] = False  # `score` makes its own and ignores the one it is given
  widest_block: ClassVar[int | None] = None  # keys in a block beyond which `key_block` is too dear
  tile: ClassVar[tuple[float, float]] = (1, 1)  # queries and keys in a block, times its size
  turns: ClassVar[str] = ''  # what it rotates by positions: 'queries and keys', 'values'
  widens: ClassVar[int] = 1  # times H: the width of q.h and k.h as the hooks leave them
  # Distance, on either side, from which on `by_distance` is linear: constant, if of the query too.
  linear_beyond: ClassVar[int | None] = None

  def check(self, dims):
    """Raises ValueError, one line, if an argument is invalid or does not fit `dims`."""

  def with_dims(self, dims):
    self.check(dims)
    return self.clone(dims=dims)

  def farthest(self, last, train):
    """The farthest position that `positions` makes of those from 0 to `last`."""
    return last

  # once per sequence
  def init_state(self, batch, capacity, train, rng):
    """The `State` before the first token; it needs no weights.

    Args:
      batch: rows.
      capacity: how many tokens a row may come to hold.
      train: whether this is training.
      rng: a key; None where nothing may be drawn.
    """
    return State()

  def positions(self, at, state):
    """The places that the other hooks see, [B or 1, T, P], and the sequence's state after `at`."""
    return at.pos, state

  def waves(self, at, dtype):
    """What `query` and `key` read of positions in all layers alike: leaves [B or 1, T, ...].

    They find it in their tokens, or make it where there is none, and leave () behind.
    """
    return ()

  def embed(self, x_BTD, at, state):
    """The embeddings with positions in them, and the sequence's state after them."""
    return x_BTD, state

  # once per token in every layer; a key is cached as this leaves it
  def features(self, x_BTD, at, state):
    """What queries and keys take along from the layer's input, and the layer's state after it."""
    return (), state

  def query(self, q):
    return q

  def key(self, k):
    return k

  # once per block of keys
  def key_block(self, k):
    """What does not depend on the query. The block's order ascends along S where it is visible."""
    return k

  # once per pair of blocks, for all rows at once if they share positions
  def position_bias(self, q, k):
    """What `score` adds before anything else, [B or 1, N, T, S]; None: nothing.

    Of positions, weights and what is the query's own, never of the keys' content.
    """
    return None

  # instead, where positions count tokens: once per distance, then once per pair of blocks
  def distances(self, distance_R):
    """What `position_bias` is made of, leaves [N or 1, ..., R] for distances, query less key.

    None, the default: `position_bias` is more than a matter of distances, and is made pair by pair.
    """
    return None

  def by_distance(self, q, r):
    """The bias of each query at the distances of `r`: [B or 1, N, T or 1, R]."""

  # once per block of queries, then once per pair of blocks, key blocks in descending order
  def init_carry(self, q):
    """What `score` hands from one key block to the next one, leaves [B, N, T, ...].

    (), the default, means that the order of the blocks does not matter. A pair that is masked must
    leave the carry as it is: causality, packing, padding and empty cache slots follow from that.
    """
    return ()

  def score(self, s_BNTS, pair, carry):
    return s_BNTS if pair.bias is None else s_BNTS + pair.bias, carry

  def output(self, o_BTNH, p_BNTS, pair):
    """Adds to what the block's weights gather; linear in (o, p), as they are normalised later."""
    return o_BTNH

  # once per query, after the last block
  def finish(self, o_BTNH, q, carry):
    return o_BTNH

  def block_bias(self, q, k, r, nearest):
    """`position_bias` of a pair of blocks; made of `r` = `distances` if given, in descending order.

    `nearest` is the smallest distance between the blocks on either side, negative if they overlap.
    """
    if r is None:
      return self.position_bias(q, k)
    far = None if self.linear_beyond is None else nearest >= self.linear_beyond
    return unfold(self.by_distance, q, r, far)

  def weight(self, name, init, **sizes):
    return dims_lib.weight(self, name, init, self.dims, **sizes)

  def weights(self):
    """The weights alone. (Linen makes them when the first method is called, so this can be one.)"""
    return self.variables.get('params', {})

  def init_weights(self, rng):
    return self.init(rng, method='weights').get('params', {})
