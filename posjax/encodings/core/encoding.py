"""The interface: how a Transformer learns where its tokens are.

An encoding is a small Linen module that overrides the hooks it needs. Hooks are sorted by how often
they run: once per sequence, once per token in every layer, once per block of keys, once per pair of
blocks, once per query at the end. Only `init_state` receives a length, and no hook calls `arange`:
queries and keys carry their own positions. A cached context, a packed row, a block of keys and an
encoder's output are therefore all the same call. A hook reads its arguments and its weights and
nothing else; it returns the structure, shapes and dtypes of its arguments. docs/encodings.md builds
an encoding step by step.

Attention and layers hold a `Bound` encoding, a pytree of (weights, static module), never a live
Linen scope: it passes through `scan`, `remat`, `vmap` and `shard_map` like an array.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

import jax
from flax import linen as nn

from posjax import dims as dims_lib
from posjax.encodings.core import combinators
from posjax.encodings.core.declarations import (
  Limit,
  Trait,
  hook,
  hooks_of,
  joined,
  least,
  most_order,
  traits_of,
)
from posjax.encodings.core.toeplitz import unfold
from posjax.encodings.core.tokens import AttentionInput, Pair, Positions, State


class Encoding(nn.Module):
  """An encoding that changes nothing; subclasses override the hooks they need.

  Arguments are dataclass fields: numbers, strings, tuples and mappings of them. `setup` creates the
  weights with `self.weight`. Class variables are traits: the program and its pages read them, and
  the tests hold each encoding to them. Traits and hooks are declared here and nowhere else, with
  their meaning, the words on pages, and the rule by which a chain gets its own.
  """

  dims: dims_lib.Dims | None = dataclasses.field(default=None, kw_only=True)  # from with_dims
  # The only axis of positions that it sees, such as 1 in 'alibi@1'; None: all axes.
  axis: int | None = dataclasses.field(default=None, kw_only=True)

  shift_invariant: ClassVar[Annotated[bool, Trait(
    says='adding a constant to all positions changes no output',
    shown='depends on where a text begins',
    chain=all,
  )]] = True
  whole_positions: ClassVar[Annotated[bool, Trait(
    says='positions are indices: no fractions',
    shown='positions are whole numbers',
    chain=any,
  )]] = False
  limit: ClassVar[Annotated[Limit, Trait(
    says='how many positions it represents, counted from 0: on every axis, or on each; None: any',
    shown='{} positions at most',
  )]] = None
  axes: ClassVar[Annotated[float | None, Trait(
    says='how many axes of a position it reads; infinite: all that there are; None: it reads no'
    ' positions and accepts any',
    shown='axes of positions: {}',
  )]] = 1
  reads_ids: ClassVar[Annotated[bool, Trait(
    says='it reads token ids: not for tokens that are vectors',
    shown='reads token ids',
    chain=any,
  )]] = False
  fractions: ClassVar[Annotated[bool, Trait(
    says='it moves positions, to fractions too',
    shown='moves positions to fractions',
    chain=any,
  )]] = False
  depends_on_capacity: ClassVar[Annotated[str, Trait(
    says='why outputs depend on the capacity, the most tokens a row may hold; empty: they do not',
    shown='depends on the capacity: {}',
    chain=joined,
  )]] = ''
  causal_only: ClassVar[Annotated[bool, Trait(
    says='it is undefined if a query sees later keys; `attend` refuses',
    shown='causal only',
    chain=any,
  )]] = False
  encoder_order: ClassVar[Annotated[str, Trait(
    says="what an encoder can tell: 'order and side'; 'distance': mirroring a text only mirrors the"
    " outputs; 'nothing': permuting a text only permutes the outputs",
    shown='tells an encoder {}',
    chain=most_order,
  )]] = 'order and side'
  contiguous: ClassVar[Annotated[bool, Trait(
    says='it reads every key between a query and a key: a cache may not drop one from its middle',
    shown='needs every key in between',
    chain=any,
  )]] = False
  all_heads: ClassVar[Annotated[bool, Trait(
    says='it mixes heads: one device must hold the logits of all heads',
    shown='mixes heads',
    chain=any,
  )]] = False
  reach: ClassVar[Annotated[float, Trait(
    says='how many tokens before a token its embedding or features read; infinite: all',
    shown='reads {} tokens before a key',
  )]] = 0
  looks_ahead: ClassVar[Annotated[bool, Trait(
    says='embeddings read later tokens: not for a model that predicts the next token',
    shown='reads later tokens',
    chain=any,
  )]] = False
  sees_itself: ClassVar[Annotated[bool, Trait(
    says='a query scores the key of its own token',
    shown='a query does not see its own key',
    chain=all,
  )]] = True
  inert: ClassVar[Annotated[tuple[str, ...], Trait(
    says='weights that provably change no output',
    shown='weights that change no output: {}',
  )]] = ()
  idle: ClassVar[Annotated[tuple[str, ...], Trait(
    says='hooks that change nothing with these arguments, so that attention may skip'
    ' them',
    shown='hooks that change nothing here: {}',
  )]] = ()
  normalizer: ClassVar[Annotated[str, Trait(
    says="`'none'`: `score` returns the logarithms of the attention weights",
    shown='no softmax: scores are logarithms of attention weights',
  )]] = 'softmax'
  own_score: ClassVar[Annotated[bool, Trait(
    says='`score` computes the logits itself and ignores its argument',
    shown='computes its own logits',
    chain=any,
  )]] = False
  rotates: ClassVar[Annotated[str, Trait(
    says='what it rotates by positions: queries and keys, or values; a chain refuses parts whose '
    'results would be rotated twice, or not at all',
    shown='rotates {} by positions',
  )]] = ''
  head_width_factor: ClassVar[Annotated[int, Trait(
    says='width of `q.h` and `k.h` after the hooks, as a multiple of H',
    shown='makes queries and keys {} times as wide',
    chain=math.prod,
  )]] = 1
  longer_tables: ClassVar[Annotated[tuple[str, ...], Trait(
    says='tables whose first rows equal those of a shorter table: a run that starts from another'
    ' run takes these rows',
    shown='longer tables begin with shorter ones: {}',
  )]] = ()
  widest_block: ClassVar[Annotated[int | None, Trait(
    says='the most keys in one call of `key_block`',
    shown='at most {} keys in a block',
    chain=least,
  )]] = None
  tile: ClassVar[Annotated[tuple[float, float], Trait(
    says='queries and keys in a block, as multiples of `attention.block`',
    shown='blocks of queries and keys are {} times as long',
  )]] = (1, 1)
  linear_beyond: ClassVar[Annotated[int | None, Trait(
    says='distance, on either side, from which on `bias_from_table` is linear; constant if it'
    ' depends on the query too',
    shown='linear in the distance from {} on',
  )]] = None

  def check(self, dims: dims_lib.Dims) -> None:
    """Raises ValueError, one line, if an argument is invalid or does not fit `dims`."""

  def with_dims(self, dims: dims_lib.Dims) -> Self:
    if self.axis is not None:
      if self.axes == math.inf:
        raise ValueError(f'it reads all axes of positions, and cannot be limited to @{self.axis}')
      if self.axis >= dims.P:
        raise ValueError(f'there is no axis {self.axis}: positions have {dims.P}, counted from 0')
    self.check(dims)
    return self.clone(dims=dims)

  @property
  def limits(self) -> Limit:
    """The limit; if it sees one axis only, none on the others."""
    if self.axis is None or self.limit is None:
      return self.limit
    return tuple(self.limit if axis == self.axis else math.inf for axis in range(self.dims.P))

  def farthest(self, last: int, train: bool) -> int:
    """Returns the largest position that `positions` assigns to tokens 0 to `last`."""
    return last

  @hook('sequence', weights=False)
  def init_state(self, batch: int, capacity: int, train: bool, rng: jax.Array | None) -> State:
    """Returns the `State` before the first token; it reads no weights.

    Args:
      batch: rows.
      capacity: the most tokens that a row may hold.
      train: whether this is training.
      rng: a key of jax.random; None if nothing may be drawn.
    """
    return State()

  @hook('sequence', 'moves positions')
  def positions(self, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    """Returns the positions that the other hooks see, [B or 1, T, P], and the sequence's state."""
    return at.pos, state

  @hook('sequence', chain=combinators.side_by_side)
  def position_features(self, at: Positions, dtype: jax.typing.DTypeLike) -> Any:
    """Returns functions of positions that all layers share, leaves [B or 1, T, ...].

    `query` and `key` find them in their tokens, compute them if they are (), and leave () behind.
    """
    return ()

  @hook('sequence', 'changes embeddings', chain=combinators.in_turn_with_state)
  def embed(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[jax.Array, Any]:
    """Returns the embeddings with positions in them, and the sequence's state after them."""
    return x_BTD, state

  # The cache stores a key as the next three hooks return it.
  @hook('token', "reads the layer's input", chain=combinators.side_by_side_with_state)
  def features(self, x_BTD: jax.Array, at: Positions, state: Any) -> tuple[Any, Any]:
    """Returns what tokens carry from the layer's input into attention, and the layer's state."""
    return (), state

  @hook('token', 'changes queries', heads=True, chain=combinators.tokens_in_turn)
  def query(self, q: AttentionInput) -> AttentionInput:
    return q

  @hook('token', 'changes keys', heads=True, chain=combinators.tokens_in_turn)
  def key(self, k: AttentionInput) -> AttentionInput:
    return k

  @hook('layer')
  def derive(self) -> dict[str, Any]:
    """Returns what the hooks below need of the weights alone, by name, for `derived`.

    It is computed, and differentiated, once per call of attention, not once per pair of blocks.
    """
    return {}

  @hook('key block', heads=True, chain=combinators.tokens_in_turn)
  def key_block(self, k: AttentionInput) -> AttentionInput:
    """Returns a block of keys with what every query needs of it; `order` ascends along S."""
    return k

  # Computed once for all rows that share positions.
  @hook('pair', 'adds a bias to logits', chain=combinators.side_by_side)
  def position_bias(self, q: AttentionInput, k: AttentionInput) -> jax.Array | None:
    """Returns the bias that `score` adds first, [B or 1, N, T, S]; None: no bias.

    It depends on positions, weights and the query's features, never on the keys' content.
    """
    return None

  # Used in its place where positions count tokens.
  @hook('distance', chain=combinators.side_by_side)
  def distance_table(self, distance_R: jax.Array) -> Any:
    """Returns the bias as a table of distances q.pos - k.pos, leaves [N or 1, ..., R].

    None, the default: the bias depends on more than the distance and is computed pair by pair.
    """
    return None

  @hook('distance')
  def bias_from_table(self, q: AttentionInput, r: Any) -> jax.Array:
    """Returns the bias of each query at the distances of table `r`: [B or 1, N, T or 1, R]."""

  # Then pair after pair, key blocks in descending order.
  @hook('query block', heads=True, chain=combinators.side_by_side)
  def init_carry(self, q: AttentionInput) -> Any:
    """Returns the carry that `score` passes from one key block to the next, [B, N, T, ...].

    (), the default, means that the order of the blocks does not matter. A masked pair must not
    change the carry: causality, packing, padding and empty cache slots follow from that.
    """
    return ()

  @hook('pair', 'changes logits', heads=True, chain=combinators.in_turn_with_state)
  def score(self, s_BNTS: jax.Array, pair: Pair, carry: Any) -> tuple[jax.Array, Any]:
    return s_BNTS if pair.bias is None else s_BNTS + pair.bias, carry

  @hook('pair', 'adds to outputs', heads=True, chain=combinators.in_turn)
  def output(self, o_BTNH: jax.Array, p_BNTS: jax.Array, pair: Pair) -> jax.Array:
    """Returns o plus the encoding's own term; linear in (o, p), which are normalized later."""
    return o_BTNH

  # After the last block.
  @hook('query', 'adds to outputs at the end', heads=True, chain=combinators.in_turn)
  def finish(self, o_BTNH: jax.Array, q: AttentionInput, carry: Any) -> jax.Array:
    return o_BTNH

  def block_bias(
    self, q: AttentionInput, k: AttentionInput, r: Any, nearest: jax.Array | int
  ) -> Any:
    """Returns the bias of a pair of blocks, [B or 1, N, T, S].

    Args:
      q: a block of queries.
      k: a block of keys.
      r: the `distance_table` in descending order; None: the bias is `position_bias`.
      nearest: the smallest distance between a query and a key; negative if the blocks overlap.
    """
    if r is None:
      return self.position_bias(q, k)
    far = None if self.linear_beyond is None else nearest >= self.linear_beyond
    return unfold(self.bias_from_table, q, r, far)

  def weight(self, name: str, init: Callable[..., jax.Array], **sizes: int) -> jax.Array:
    return dims_lib.weight(self, name, init, self.dims, **sizes)

  def derived(self, name: str) -> Any:
    """Returns a value of the hook `derive`, for hooks of key blocks, pairs and queries."""
    return self.get_variable('derived', name)

  def weights(self) -> Any:
    """Returns the weights. As a method it makes Linen run `setup`, which creates them."""
    return self.variables.get('params', {})

  def init_weights(self, rng: jax.Array) -> Any:
    return self.init(rng, method='weights').get('params', {})


TRAITS = traits_of(Encoding)
HOOKS = hooks_of(Encoding)
