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
import math
from typing import Annotated, ClassVar

from flax import linen as nn

from posjax import dims as dims_lib
from posjax.encodings.core.declarations import Trait, hook, hooks_of, joined, least, traits_of
from posjax.encodings.core.toeplitz import unfold
from posjax.encodings.core.tokens import State


class Encoding(nn.Module):
  """An encoding that does nothing; subclasses override what they need.

  Arguments are dataclass fields: numbers, strings, tuples and mappings of them. Weights are made in
  `setup` with `self.weight`. What stands here as a class variable is a trait: it tells the rest of
  the program and the reader what to expect, and the tests hold each encoding to what it declares.
  A trait is declared here alone: its meaning, what pages say, and what a chain makes of its parts'.
  """

  dims: dims_lib.Dims | None = dataclasses.field(default=None, kw_only=True)  # from with_dims

  shift_invariant: ClassVar[Annotated[bool, Trait(
    'adding a constant to all positions changes no output',
    'it matters where a text begins', all,
  )]] = True
  whole_positions: ClassVar[Annotated[bool, Trait(
    'positions are indices: no fractions',
    'positions are whole numbers', any,
  )]] = False
  limit: ClassVar[Annotated[int | None, Trait(
    'how many positions from 0 on it represents, on each axis; None: any',
    '{:,} positions at most',
  )]] = None
  axes: ClassVar[Annotated[int | None, Trait(
    'how many axes of a position it reads; None: it reads none, and takes any',
    'axes of positions: {}',
  )]] = 1
  fractions: ClassVar[Annotated[bool, Trait(
    'it moves positions, and not to whole ones',
    'moves positions to fractions', any,
  )]] = False
  depends_on_capacity: ClassVar[Annotated[str, Trait(
    'why it matters how many tokens may come',
    'depends on how many tokens may come: {}', joined,
  )]] = ''
  causal_only: ClassVar[Annotated[bool, Trait(
    'it has no meaning where later keys are seen; `attend` refuses',
    'causal only', any,
  )]] = False
  contiguous: ClassVar[Annotated[bool, Trait(
    'it needs every key between: a key may not be dropped from the middle of a cache',
    'needs every key between', any,
  )]] = False
  all_heads: ClassVar[Annotated[bool, Trait(
    'it mixes heads: all scores of a pair must be at one place',
    'mixes heads', any,
  )]] = False
  reach: ClassVar[Annotated[float, Trait(
    'tokens before one whose inputs its embedding or features read; infinite: all',
    'reads tokens before a key: {}',
  )]] = 0
  looks_ahead: ClassVar[Annotated[bool, Trait(
    'embeddings read later tokens: not for a model of the next one',
    'reads later tokens', any,
  )]] = False
  sees_itself: ClassVar[Annotated[bool, Trait(
    'a query scores the key of its own token',
    'a query does not see its own key', all,
  )]] = True
  inert: ClassVar[Annotated[tuple[str, ...], Trait(
    'weights that provably change no output',
    'weights that change no output: {}',
  )]] = ()
  idle: ClassVar[Annotated[tuple[str, ...], Trait(
    'hooks that change nothing with these arguments, so that other attention may do without'
    ' them',
    'hooks that do nothing here: {}',
  )]] = ()
  normalizer: ClassVar[Annotated[str, Trait(
    "`'none'`: `score` returns the logarithms of the weights",
    'no softmax: scores are the logarithms of weights',
  )]] = 'softmax'
  own_score: ClassVar[Annotated[bool, Trait(
    '`score` makes its own and ignores the one that it is given',
    'makes its own scores', any,
  )]] = False
  rotates: ClassVar[Annotated[str, Trait(
    'what it rotates by positions, queries and keys, or values; a chain refuses what would '
    'not be rotated, or twice',
    'turns {} by positions',
  )]] = ''
  head_width_factor: ClassVar[Annotated[int, Trait(
    'how many times H the width of `q.h` and `k.h` is, as the hooks leave them',
    'makes queries and keys {} times as wide', math.prod,
  )]] = 1
  longer_tables: ClassVar[Annotated[tuple[str, ...], Trait(
    'tables whose first rows are those of a shorter one: a run that starts from the weights'
    ' of another takes them',
    'longer tables begin with shorter ones: {}',
  )]] = ()
  widest_block: ClassVar[Annotated[int | None, Trait(
    'the most keys for which `key_block` is worth its price',
    '{} keys at once at most', least,
  )]] = None
  tile: ClassVar[Annotated[tuple[float, float], Trait(
    'how many queries and keys are in a block, times `attention.block`',
    'blocks of queries and keys are {} times as long',
  )]] = (1, 1)
  linear_beyond: ClassVar[Annotated[int | None, Trait(
    'distance, on either side, from which on `bias_from_table` is linear; constant, if it is of'
    ' the query too',
    'linear in the distance from {} on',
  )]] = None

  def check(self, dims):
    """Raises ValueError, one line, if an argument is invalid or does not fit `dims`."""

  def with_dims(self, dims):
    self.check(dims)
    return self.clone(dims=dims)

  def farthest(self, last, train):
    """The farthest position that `positions` makes of those from 0 to `last`."""
    return last

  @hook('sequence', weights=False)
  def init_state(self, batch, capacity, train, rng):
    """The `State` before the first token; it needs no weights.

    Args:
      batch: rows.
      capacity: how many tokens a row may come to hold.
      train: whether this is training.
      rng: a key; None where nothing may be drawn.
    """
    return State()

  @hook('sequence', 'places tokens')
  def positions(self, at, state):
    """The places that the other hooks see, [B or 1, T, P], and the sequence's state after `at`."""
    return at.pos, state

  @hook('sequence')
  def position_features(self, at, dtype):
    """What `query` and `key` read of positions in all layers alike: leaves [B or 1, T, ...].

    They find it in their tokens, or make it where there is none, and leave () behind.
    """
    return ()

  @hook('sequence', 'changes embeddings')
  def embed(self, x_BTD, at, state):
    """The embeddings with positions in them, and the sequence's state after them."""
    return x_BTD, state

  # A key is cached as these three leave it.
  @hook('token', "reads the layer's input")
  def features(self, x_BTD, at, state):
    """What queries and keys take along from the layer's input, and the layer's state after it."""
    return (), state

  @hook('token', 'changes queries', heads=True)
  def query(self, q):
    return q

  @hook('token', 'changes keys', heads=True)
  def key(self, k):
    return k

  @hook('key block', heads=True)
  def key_block(self, k):
    """What does not depend on the query. The block's order ascends along S where it is visible."""
    return k

  # For all rows at once if they share positions.
  @hook('pair', 'adds a bias to logits')
  def position_bias(self, q, k):
    """What `score` adds before anything else, [B or 1, N, T, S]; None: nothing.

    Of positions, weights and what is the query's own, never of the keys' content.
    """
    return None

  # Instead, where positions count tokens.
  @hook('distance')
  def distance_table(self, distance_R):
    """What `position_bias` is made of, leaves [N or 1, ..., R] for distances, query less key.

    None, the default: `position_bias` is more than a matter of distances, and is made pair by pair.
    """
    return None

  @hook('distance')
  def bias_from_table(self, q, r):
    """The bias of each query at the distances of `r`: [B or 1, N, T or 1, R]."""

  # Then pair after pair, key blocks in descending order.
  @hook('query block', heads=True)
  def init_carry(self, q):
    """What `score` hands from one key block to the next one, leaves [B, N, T, ...].

    (), the default, means that the order of the blocks does not matter. A pair that is masked must
    leave the carry as it is: causality, packing, padding and empty cache slots follow from that.
    """
    return ()

  @hook('pair', 'changes logits', heads=True)
  def score(self, s_BNTS, pair, carry):
    return s_BNTS if pair.bias is None else s_BNTS + pair.bias, carry

  @hook('pair', 'adds to outputs', heads=True)
  def output(self, o_BTNH, p_BNTS, pair):
    """Adds to what the block's weights gather; linear in (o, p), as they are normalised later."""
    return o_BTNH

  # After the last block.
  @hook('query', 'adds to outputs at the end', heads=True)
  def finish(self, o_BTNH, q, carry):
    return o_BTNH

  def block_bias(self, q, k, r, nearest):
    """`position_bias` of a pair of blocks.

    Made of `r`, if given: the `distance_table` in descending order. `nearest` is the smallest
    distance between the blocks on either side, negative if they overlap.
    """
    if r is None:
      return self.position_bias(q, k)
    far = None if self.linear_beyond is None else nearest >= self.linear_beyond
    return unfold(self.bias_from_table, q, r, far)

  def weight(self, name, init, **sizes):
    return dims_lib.weight(self, name, init, self.dims, **sizes)

  def weights(self):
    """The weights alone. (Linen makes them when the first method is called, so this can be one.)"""
    return self.variables.get('params', {})

  def init_weights(self, rng):
    return self.init(rng, method='weights').get('params', {})


TRAITS = traits_of(Encoding)
HOOKS = hooks_of(Encoding)
