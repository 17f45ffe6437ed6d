"""An encoding's hooks run on the simplest text there is: tokens that are all alike.

The stream is 1 in each channel, and heads are cut from it without a projection, so that queries and
keys are the same vector u, of a length such that u . u / sqrt(H) = 1: without an encoding each
logit would be 1. What an encoding adds to embeddings counts with either sign, and each head reads
all channels in turn; of the mean, what two positions make of each other remains:

  mean of (u + e_i) . (u + e_j) and (u - e_i) . (u - e_j) = u . u + e_i . e_j

Everything is in float64. No encoding is known by its name here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from posjax.attention import attend
from posjax.attention.blockwise.blocks import split
from posjax.attention.mask import in_chunks, visible
from posjax.encodings import Bound, Chain, Positions, name_of, parts_of
from posjax.encodings.core.arrays import per_head, qk_logits
from posjax.encodings.core.chain import overrides
from posjax.encodings.core.tokens import Pair

DRAWS = 16  # of positions that are random: what is shown is their mean
BLOCK = 256  # keys that scores are made of at once
TEXT = b'12 + 345 = 357.\n'  # again and again: for encodings that read the tokens' numbers
NOTHING = -1e9  # a logit below is that of a key which is not seen

# LLVM's optimisations are half of a compilation, which is run once here.
jit = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


def at_start(length):
  """A text of `length` tokens, as training sees it."""
  order = jnp.arange(length, dtype=jnp.int32)[None]
  ids = jnp.asarray(np.resize(np.frombuffer(TEXT, np.uint8), length), jnp.int32)[None]
  return Positions(order[..., None], order, jnp.zeros_like(order), ids=ids)


def first_weights(encoding, seed, drawn='initial'):
  """The weights of one layer: as they are first, or 'normal', each from N(0, 1)."""
  if drawn == 'normal':
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(encoding.init_weights, jax.random.key(0))
    return jax.tree.map(lambda w: rng.normal(size=w.shape), shapes)
  weights = jit(encoding.init_weights)(jax.random.key(seed))
  return jax.tree.map(lambda w: np.asarray(w, np.float64), weights)


def streams(bound, at, state, content, sign, shift):
  """What a layer reads and what heads are cut from, [1, T, D] each; see the module's docstring."""
  none_BTD = jnp.zeros((1, at.order.shape[1], bound.module.dims.D))
  added = bound.embed(none_BTD, at, state)[0]
  own = bound.embed(none_BTD + 1, at, state)[0] - added
  return [jnp.roll(c * own + sign * added, shift, axis=-1) for c in (1, content)]


def rotates(encoding):
  """(sign of what is added, shift of the channels) of the cases whose mean is shown."""
  if not any(overrides(part, 'embed') for part in parts_of(encoding)):
    return [(1, 0)]
  H, D = encoding.dims.H, encoding.dims.D
  return [(sign, shift) for sign in (1, -1) for shift in range(0, D, H)]


def ends(bound, at, state, chunk, content, sign, shift):
  """All queries and all keys, after every hook that runs once for a token."""
  dims, pos = bound.module.dims, at.pos
  at, sequence = bound.locate(at, state.sequence, jnp.float64)
  x_BTD, h_BTD = streams(bound, at, sequence, content, sign, shift)
  at = in_chunks(at.replace(ids=()), pos, chunk)
  features, _ = bound.features(x_BTD, at, state.layer)
  channels = np.arange(dims.K * dims.H) % dims.D
  h_BTKH = h_BTD[..., channels].reshape(*h_BTD.shape[:2], dims.K, dims.H) * dims.H**-0.25
  q = bound.query(at.attach(per_head(h_BTKH, dims.N) * dims.scale, h_BTKH, features))
  return q, bound.key(at.attach(h_BTKH, h_BTKH, features))


def met(bound, q, k, window):
  """The scores [B, N, T, S], before a softmax; NaN where a query does not see a key."""
  S = k.h.shape[1]

  def visit(carry, k):
    k = bound.key_block(k)
    mask = visible(q, k, causal=True, window=window)
    pair = Pair(q, k, mask, bound.position_bias(q, k))
    s_BNTS, carry = bound.score(qk_logits(q.h, k.h), pair, carry)
    return carry, jnp.where(mask & (s_BNTS > NOTHING), s_BNTS, jnp.nan)

  blocks = split(k, min(S, BLOCK, bound.module.widest_block or S))
  _, s = lax.scan(visit, bound.init_carry(q), blocks, reverse=True)
  return jnp.concatenate([*s], axis=-1)[..., :S] if len(s) > 1 else s[0]


def logits(encoding, weights, rows, length, *, window=0, chunk=0, train=True, seed=0):
  """The logits of some queries of a text of equal tokens: two arrays [N, len(rows), length].

  Args:
    encoding: with its dims.
    weights: of one layer.
    rows: which queries.
    length: tokens of the text.
    window: keys that a query sees; 0: all.
    chunk: tokens that see each other; 0: all.
    train: whether positions are drawn as in training.
    seed: of what is drawn.

  Returns:
    The logits without content, q = k = 0 but for what is added to embeddings, and those with it.
  """
  at, rows, number = at_start(length), np.asarray(rows), draws(encoding, length, train)

  @jit
  def run(weights, content, cases):
    def one(case):
      rng, sign, shift = case
      bound, state = Bound(encoding, weights), encoding.init_state(1, length, train, rng)
      q, k = ends(bound, at, state, chunk, content, sign, shift)
      q = jax.tree.map(lambda x: x[:, rows], q)
      return met(bound, q, k, window)[0]

    return jnp.mean(lax.map(one, cases), axis=0)

  signs, shifts = map(jnp.asarray, zip(*rotates(encoding), strict=True))
  rngs = jax.random.split(jax.random.key(seed), number)
  cases = jnp.repeat(rngs, len(signs)), jnp.tile(signs, number), jnp.tile(shifts, number)
  return tuple(np.asarray(run(weights, content, cases)) for content in (0.0, 1.0))


def draws(encoding, length, train=True):
  """How many draws of positions are averaged: 1 where none is random."""
  one, other = (
    jax.tree.leaves(encoding.init_state(1, length, train, jax.random.key(i))) for i in range(2)
  )
  alike = all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
  return 1 if alike else DRAWS


def reads(encoding):
  """Whether what queries and keys take along depends on what the layer's input holds."""
  if not any(overrides(part, 'features') for part in parts_of(encoding)):
    return False
  weights, at = first_weights(encoding, 0, 'normal'), at_start(4)
  state = encoding.init_state(1, 4, True, jax.random.key(0)).layer
  features = jit(lambda weights, x_BTD: Bound(encoding, weights).features(x_BTD, at, state)[0])
  x_BTD = np.random.default_rng(1).normal(size=(2, 1, 4, encoding.dims.D))
  one, other = (jax.tree.leaves(features(weights, x)) for x in x_BTD)
  return any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def adds(encoding):
  """Whether a key becomes what it was and something more, the same whatever it holds."""
  if not any(overrides(part, 'key') for part in parts_of(encoding)):
    return False
  weights, at = first_weights(encoding, 0), at_start(4)
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


def frequencies(encoding, weights, length):
  """Radians per position of what turns or swings with it, fast ones first: [C].

  They are measured: of all that a key becomes, and of what embeddings become, those channels that
  are sinusoids of the position. `length` is how many tokens may come.
  """
  if isinstance(encoding, Chain):  # apart, as one may move the positions of another
    own = [(part, weights.get(name_of(part), {})) for part in encoding.parts]
    return np.concatenate([frequencies(part, of_part, length) for part, of_part in own])
  dims, rng = encoding.dims, jax.random.key(0)

  @jit
  def channels(weights, pos_R):
    bound, zeros = Bound(encoding, weights), jnp.zeros_like(pos_R)[None]
    state = encoding.init_state(1, length, False, rng)
    at = Positions(pos_R[None, :, None], zeros, zeros, ids=zeros)
    at, sequence = bound.locate(at, state.sequence, jnp.float64)
    none_BTD = jnp.zeros((1, len(pos_R), dims.D))
    added = bound.embed(none_BTD, at, sequence)[0]
    own = bound.embed(none_BTD + 1, at, sequence)[0] - added
    features, _ = bound.features(none_BTD + 1, at, state.layer)
    h_BTKH = jnp.ones((1, len(pos_R), dims.K, dims.H))
    k = bound.key(at.replace(ids=()).attach(h_BTKH, h_BTKH, features))
    block = bound.key_block(k)
    made = k.h, k.features, block.h, block.features, own, added
    leaves = [x for x in jax.tree.leaves(made) if x.dtype == jnp.float64]
    return jnp.concatenate([x[0].reshape(len(pos_R), -1) for x in leaves], axis=-1)

  return sinusoids(lambda pos_R: np.asarray(channels(weights, pos_R)))


def sinusoids(channels, points=8):
  """The frequencies of the sinusoids among functions of positions, [R] to [R, C]: each once.

  Of a sinusoid f(p + h) + f(p - h) = 2 cos(h theta) f(p) for all p, and of little else. The step h
  grows until h theta is about 1, so that slow ones lose no digits; what ceases to be a sinusoid
  before h theta says anything has been none.
  """
  theta, last = None, 1
  for step in 4 ** np.arange(13):
    before, here, after = (channels(jnp.arange(points) + i * step) for i in range(3))
    with np.errstate(invalid='ignore', divide='ignore'):
      cos = np.sum(here * (before + after), axis=0) / (2 * np.sum(here**2, axis=0))
      off = np.max(np.abs(before + after - 2 * cos * here), axis=0) / np.max(np.abs(here), axis=0)
    found = np.where(off < 1e-8, np.arccos(np.clip(cos, -1, 1)) / step, np.nan)
    theta = found if theta is None else theta
    good = (off < 1e-8) & (theta * step < 2)
    theta, last = np.where(good, found, theta), np.where(good, step, last)
  theta = -np.sort(-theta[(theta > 1e-9) & (theta * last > 0.03)])
  return theta[np.diff(theta, prepend=np.inf) < -1e-6 * theta]


def flops(encoding, weights, length):
  """(in each layer, once for all layers): FLOPs of one token of a text, forward.

  As XLA counts them before it simplifies the program, all pairs at once, masked or not.
  """
  dims, state = encoding.dims, encoding.init_state(1, length, True, jax.random.key(0))
  x_BTD = jax.ShapeDtypeStruct((1, length, dims.D), jnp.float32)

  def once(weights, x_BTD):
    bound, at = Bound(encoding, weights), at_start(length)
    at, sequence = bound.locate(at, state.sequence, jnp.float32)
    return bound.embed(x_BTD, at, sequence)[0], at.pos, at.position_features

  def layer(weights, x_BTD, pos, position_features):
    bound = Bound(encoding, weights)
    at = at_start(length).replace(pos=pos, position_features=position_features, ids=())
    features, _ = bound.features(x_BTD, at, state.layer)
    h_BTKH = jnp.zeros((1, length, dims.K, dims.H))
    q = bound.query(at.attach(jnp.zeros((1, length, dims.N, dims.H)), h_BTKH, features))
    k = bound.key(at.attach(h_BTKH, h_BTKH, features))
    return attend(q, k, bound, implementation='reference')

  x, pos, position_features = jax.eval_shape(once, weights, x_BTD)
  made = jax.jit(layer).lower(weights, x, pos, position_features)
  counts = made, jax.jit(once).lower(weights, x_BTD)
  return tuple((lowered.cost_analysis() or {}).get('flops', 0) / length for lowered in counts)
