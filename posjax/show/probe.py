"""Runs the hooks of an encoding on the simplest text or grid: equal tokens.

The residual stream is 1 in each channel, and heads are slices of it without a projection. So all
queries and keys are the same vector u, scaled to u . u / sqrt(H) = 1: without an encoding, each
logit is 1. If an encoding adds e to embeddings, the logits are averaged over both signs of e, and
over channel shifts such that each head reads all channels. Only products of positions remain:

  mean of (u + e_i) . (u + e_j) and (u - e_i) . (u - e_j) = u . u + e_i . e_j

All results are float64. No encoding is handled by its name.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from posjax.attention import attend
from posjax.attention.blockwise.blocks import split
from posjax.attention.mask import in_chunks, visible
from posjax.encodings import (
  AttentionInput,
  Bound,
  Encoding,
  Positions,
  State,
  parts_of,
)
from posjax.encodings.core.arrays import per_head, qk_logits
from posjax.encodings.core.chain import overrides
from posjax.encodings.core.tokens import Pair
from posjax.models.pattern import Layer
from posjax.tasks.core.grids import grid

DRAWS = 16  # of random positions; results are the mean over them
BLOCK = 256  # keys per block of scores
TEXT = b'12 + 345 = 357.\n'  # repeated: ids for encodings that read token ids
NOTHING = -1e9  # keys with a lower logit count as not seen

# LLVM's optimizations take half of the compile time, and each program runs once here.
jit = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


def at_start(length: int, axes: int = 1) -> Positions:
  """Returns the positions of a text of `length` tokens, as in training, equal on all axes."""
  order = jnp.arange(length, dtype=jnp.int32)[None]
  ids = jnp.asarray(np.resize(np.frombuffer(TEXT, np.uint8), length), jnp.int32)[None]
  pos_BTP = jnp.repeat(order[..., None], axes, axis=-1)
  return Positions(pos_BTP, order, jnp.zeros_like(order), ids=ids)


def on_grid(sizes: Sequence[int]) -> Positions:
  """Returns the positions of the cells of a grid, in row-major order."""
  return at_start(math.prod(sizes)).replace(pos=jnp.asarray(grid(*sizes))[None])


def first_weights(encoding: Encoding, seed: int, drawn: str = 'initial') -> Any:
  """Returns the weights of one layer: initial values, or with 'normal' draws from N(0, 1)."""
  if drawn == 'normal':
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(encoding.init_weights, jax.random.key(0))
    return jax.tree.map(lambda w: rng.normal(size=w.shape), shapes)
  weights = jit(encoding.init_weights)(jax.random.key(seed))
  return jax.tree.map(lambda w: np.asarray(w, np.float64), weights)


def streams(
  bound: Bound, at: Positions, state: Any, content: jax.Array, sign: jax.Array, roll: jax.Array
) -> list[jax.Array]:
  """Returns a layer's input and the stream that heads are slices of, [1, T, D] each."""
  none_BTD = jnp.zeros((1, at.order.shape[1], bound.module.dims.D))
  added = bound.embed(none_BTD, at, state)[0]
  own = bound.embed(none_BTD + 1, at, state)[0] - added
  return [jnp.roll(c * own + sign * added, roll, axis=-1) for c in (1, content)]


def rotates(encoding: Encoding) -> list[tuple[int, int]]:
  """Returns the cases to average: (sign of the added term, roll of the channels)."""
  if not any(overrides(part, 'embed') for part in parts_of(encoding)):
    return [(1, 0)]
  H, D = encoding.dims.H, encoding.dims.D
  return [(sign, roll) for sign in (1, -1) for roll in range(0, D, H)]


def ends(
  bound: Bound, at: Positions, state: State, layer: Layer, content: jax.Array, sign: jax.Array,
  roll: jax.Array,
) -> tuple[AttentionInput, AttentionInput]:
  """Returns all queries and keys, after the hooks that run once per token."""
  dims, pos = bound.module.dims, at.pos
  at, sequence = bound.locate(at, state.sequence, jnp.float64)
  x_BTD, h_BTD = streams(bound, at, sequence, content, sign, roll)
  at = in_chunks(at.replace(ids=()), pos, layer.chunk, layer.shift)
  features, _ = bound.features(x_BTD, at, state.layer)
  channels = np.arange(dims.K * dims.H) % dims.D
  h_BTKH = h_BTD[..., channels].reshape(*h_BTD.shape[:2], dims.K, dims.H) * dims.H**-0.25
  q = bound.query(at.attach(per_head(h_BTKH, dims.N) * dims.scale, h_BTKH, features))
  return q, bound.key(at.attach(h_BTKH, h_BTKH, features))


def met(
  bound: Bound, q: AttentionInput, k: AttentionInput, *, causal: bool, window: int
) -> jax.Array:
  """Returns the scores before the softmax, [B, N, T, S]; NaN where a query does not see a key."""
  S = k.h.shape[1]

  def visit(carry, k):
    k = bound.key_block(k)
    mask = visible(q, k, causal=causal, window=window)
    pair = Pair(q, k, mask, bound.position_bias(q, k))
    s_BNTS, carry = bound.score(qk_logits(q.h, k.h), pair, carry)
    return carry, jnp.where(mask & (s_BNTS > NOTHING), s_BNTS, jnp.nan)

  blocks = split(k, min(S, BLOCK, bound.module.widest_block or S))
  _, s = lax.scan(visit, bound.init_carry(q), blocks, reverse=True)
  return jnp.concatenate([*s], axis=-1)[..., :S] if len(s) > 1 else s[0]


def logits(
  encoding: Encoding, weights: Any, at: Positions, rows: Sequence[int] | np.ndarray, layer: Layer,
  *, causal: bool = True, train: bool = True, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the logits of some queries of a text of equal tokens: two [N, len(rows), T].

  Args:
    encoding: the module, with dims.
    weights: the weights of one layer.
    at: the positions of the T tokens.
    rows: indices of the queries.
    layer: its window and chunk.
    causal: whether keys of later order are masked.
    train: whether positions are drawn as in training.
    seed: of the random positions.

  Returns:
    The logits without content (q and k hold only terms added to embeddings), and those with it.
  """
  T, rows = at.order.shape[1], np.asarray(rows)
  number = draws(encoding, T, train)

  @jit
  def run(weights, content, cases):
    def one(case):
      rng, sign, roll = case
      bound, state = Bound(encoding, weights), encoding.init_state(1, T, train, rng)
      q, k = ends(bound, at, state, layer, content, sign, roll)
      q = jax.tree.map(lambda x: x[:, rows], q)
      return met(bound.prepared(), q, k, causal=causal, window=layer.window)[0]

    return jnp.mean(lax.map(one, cases), axis=0)

  signs, rolls = map(jnp.asarray, zip(*rotates(encoding), strict=True))
  rngs = jax.random.split(jax.random.key(seed), number)
  cases = jnp.repeat(rngs, len(signs)), jnp.tile(signs, number), jnp.tile(rolls, number)
  return tuple(np.asarray(run(weights, content, cases)) for content in (0.0, 1.0))


def draws(encoding: Encoding, length: int, train: bool = True) -> int:
  """Returns the number of draws of positions to average: 1 if positions are not random."""
  one, other = (
    jax.tree.leaves(encoding.init_state(1, length, train, jax.random.key(i))) for i in range(2)
  )
  alike = all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
  return 1 if alike else DRAWS


def reads(encoding: Encoding) -> bool:
  """Returns whether the features depend on the values of the layer's input."""
  if not any(overrides(part, 'features') for part in parts_of(encoding)):
    return False
  weights, at = first_weights(encoding, 0, 'normal'), at_start(4, encoding.dims.P)
  state = encoding.init_state(1, 4, True, jax.random.key(0)).layer
  features = jit(lambda weights, x_BTD: Bound(encoding, weights).features(x_BTD, at, state)[0])
  x_BTD = np.random.default_rng(1).normal(size=(2, 1, 4, encoding.dims.D))
  one, other = (jax.tree.leaves(features(weights, x)) for x in x_BTD)
  return any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def adds(encoding: Encoding) -> bool:
  """Returns whether the hook `key` adds a nonzero term that does not depend on the key."""
  if not any(overrides(part, 'key') for part in parts_of(encoding)):
    return False
  weights, at = first_weights(encoding, 0), at_start(4, encoding.dims.P)
  state = encoding.init_state(1, 4, True, jax.random.key(0))

  @jit
  def key(weights, h_BTKH):
    bound = Bound(encoding, weights)
    there, _ = bound.locate(at, state.sequence, jnp.float64)
    features, _ = bound.features(jnp.ones((1, 4, encoding.dims.D)), there, state.layer)
    return bound.key(there.replace(ids=()).attach(h_BTKH, h_BTKH, features)).h

  one_BTKH = np.ones((1, 4, encoding.dims.K, encoding.dims.H))
  of_none, of_one, of_two = (np.asarray(key(weights, c * one_BTKH)) for c in range(3))
  return bool(of_none.any()) and np.allclose(of_two - of_one, of_one - of_none)


def flops(encoding: Encoding, weights: Any, length: int) -> tuple[float, float]:
  """Returns forward FLOPs per token: (in each layer, once for all layers).

  XLA counts them before it simplifies the program, over all pairs, masked or not.
  """
  dims, state = encoding.dims, encoding.init_state(1, length, True, jax.random.key(0))
  x_BTD = jax.ShapeDtypeStruct((1, length, dims.D), jnp.float32)

  def once(weights, x_BTD):
    bound, at = Bound(encoding, weights), at_start(length, dims.P)
    at, sequence = bound.locate(at, state.sequence, jnp.float32)
    return bound.embed(x_BTD, at, sequence)[0], at.pos, at.position_features

  def layer(weights, x_BTD, pos, position_features):
    bound = Bound(encoding, weights)
    at = at_start(length, dims.P).replace(pos=pos, position_features=position_features, ids=())
    features, _ = bound.features(x_BTD, at, state.layer)
    h_BTKH = jnp.zeros((1, length, dims.K, dims.H))
    q = bound.query(at.attach(jnp.zeros((1, length, dims.N, dims.H)), h_BTKH, features))
    k = bound.key(at.attach(h_BTKH, h_BTKH, features))
    return attend(q, k, bound, implementation='reference')

  x, pos, position_features = jax.eval_shape(once, weights, x_BTD)
  made = jax.jit(layer).lower(weights, x, pos, position_features)
  counts = made, jax.jit(once).lower(weights, x_BTD)
  return tuple((lowered.cost_analysis() or {}).get('flops', 0) / length for lowered in counts)
