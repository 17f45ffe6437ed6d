"""The interface: how a Transformer learns where its tokens are.

An encoding is a small Linen module that overrides the hooks it needs. Hooks are sorted by how often
they run: once per sequence (`embed`), once per token in every layer (`query`, `key`), once per pair
of blocks (`score`). None of them is given a length or calls `arange`: positions come with the
tokens of either end, so a cached context, a packed row, a block of keys and an encoder's memory are
all the same call. A hook sees its arguments and its weights, nothing else, and returns the
structure, shapes and dtypes that it was given.

Attention and layers see a `Bound` encoding, a pytree of (weights, static module), and never a live
Linen scope: it passes through `scan`, `remat`, `vmap` and `shard_map` like an array.
"""

from typing import Any, ClassVar

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn

from posjax import dims as dims_lib


@flax.struct.dataclass
class At:
  """Where tokens are, and who may see whom.

  pos          [B or 1, T, P]  the place an encoding sees; any integers or fractions; P is 1 in text
  order        [B or 1, T]     attention's own count: causality and windows go by it
  segment_ids  [B or 1, T]     only tokens of the same segment see each other; -1: padding, empty
  """

  pos: jax.Array
  order: jax.Array
  segment_ids: jax.Array

  def tokens(self, h, v=None):
    return Tokens(self.pos, self.order, self.segment_ids, h, v)


@flax.struct.dataclass
class Tokens(At):
  """One end of attention, and what a cache stores.

  h  [B, T, N, H] of queries, which carry the softmax scale already; [B, T, K, H] of keys
  v  [B, T, K, H] of keys; None of queries
  """

  h: jax.Array
  v: jax.Array | None = None


@flax.struct.dataclass
class Pair:
  """A block of queries, a block of keys, and who sees whom: mask [B or 1, 1, T, S]."""

  q: Tokens
  k: Tokens
  mask: jax.Array

  @property
  def distance(self):
    """q.pos - k.pos, [B or 1, 1, T, S, P]: positive when the key lies before the query."""
    return self.q.pos[:, None, :, None] - self.k.pos[:, None, None, :]


class Encoding(nn.Module):
  """An encoding that does nothing; subclasses override what they need.

  Arguments are dataclass fields: numbers, strings and tuples. Weights are made in `setup` with
  `self.weight`. `shift_invariant` declares that adding a constant to all positions changes no
  output; the tests hold each encoding to what it declares.
  """

  dims: dims_lib.Dims | None = None  # filled in by with_dims
  shift_invariant: ClassVar[bool] = True

  @property
  def limit(self):
    """How many positions from 0 on it can represent; None: any."""
    return None

  def check(self, dims):
    """Raises ValueError, one line, if an argument is invalid or does not fit `dims`."""

  def with_dims(self, dims):
    self.check(dims)
    return self.clone(dims=dims)

  # once per sequence
  def embed(self, x_BTD, at):
    return x_BTD

  # once per token in every layer; a key is cached as this leaves it
  def query(self, q):
    return q

  def key(self, k):
    return k

  # once per query block, then once per pair of blocks, key blocks in descending order
  def init_carry(self, q):
    """What `score` hands from one key block to the next one, leaves [B, N, T, ...].

    (), the default, means that the order of the blocks does not matter. A pair that is masked must
    leave the carry as it is: causality, packing, padding and empty cache slots follow from that.
    """
    return ()

  def score(self, s_BNTS, pair, carry):
    return s_BNTS, carry

  def weight(self, name, init, **sizes):
    return dims_lib.weight(self, name, init, self.dims, **sizes)

  def weights(self):
    """The weights alone. (Linen makes them when the first method is called, so this can be one.)"""
    return self.variables.get('params', {})

  def init_weights(self, rng):
    return self.init(rng, method='weights').get('params', {})


@flax.struct.dataclass
class Bound:
  """An encoding with its weights; its hooks are called as the encoding's own."""

  encoding: Encoding = flax.struct.field(pytree_node=False)
  weights: Any = flax.struct.field(default_factory=dict)

  def _call(self, hook, *args):
    return self.encoding.apply({'params': self.weights}, *args, method=hook)

  def embed(self, x_BTD, at):
    return self._call('embed', x_BTD, at)

  def query(self, q):
    return self._call('query', q)

  def key(self, k):
    return self._call('key', k)

  def init_carry(self, q):
    return self._call('init_carry', q)

  def score(self, s_BNTS, pair, carry):
    return self._call('score', s_BNTS, pair, carry)


def wide(*arrays):
  """The dtype of angles, biases, carries and logits: float32, or float64 where the input is."""
  return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
