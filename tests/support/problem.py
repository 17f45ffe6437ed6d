"""A small attention problem per encoding, compiled once for all tests.

`attention` runs the hooks of an encoding in order, from the embeddings on. `solver` returns a
function of inputs and positions that gives the output under each mask and implementation, and the
gradient of each query's output. It takes seconds to compile, so tests share it and differ in their
inputs.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from posjax.attention import attend
from posjax.dims import Dims, letters
from posjax.encodings import Bound, Positions
from posjax.sharding import constrain_batch

# Six query heads: no power of two, for ALiBi's slopes. Two key heads: grouped queries, mesh.
DIMS = Dims(D=48, N=6, K=2, H=8, V=17)
GRID = dataclasses.replace(DIMS, P=2)
CAPACITY = 64  # of a sequence, for encodings that draw positions
REFERENCE = dict(implementation='reference')
# The length of 12 is a multiple of 4 but not of 5.
FOURS, FIVES = (dict(implementation='blockwise', block=block) for block in (4, 5))
CAUSAL = dict(causal=True, window=0)
# Masks, each with its block size.
MASKS = {
  'causal': (CAUSAL, FOURS),
  'causal window': (dict(causal=True, window=4), FIVES),
  'window on both sides': (dict(causal=False, window=4), FIVES),
}
# Rows of documents ('.' is padding): one document; three packed; padded left; padded right.
ROWS = ('000000000000', '000001112222', '...000000000', '0000001111..')


def close(got, want, rtol=1e-11, atol=1e-11):
  """Asserts that trees of numbers are close; NaN is close to nothing, not even to NaN."""
  check = functools.partial(np.testing.assert_allclose, equal_nan=False, strict=True)
  jax.tree.map(lambda g, w: check(g, w, rtol, atol), got, want)


def masks(encoding):
  """Returns two masks under which the encoding is defined; more would take long to compile."""
  other = 'causal window' if encoding.causal_only else 'window on both sides'
  return {name: MASKS[name] for name in ('causal', other)}


def segments(*rows):
  return np.array([[-1 if c == '.' else int(c) for c in row] for row in rows], np.int32)


def dims_of(encoding):
  """Returns DIMS, or the dims that an example already has: those of a grid."""
  return encoding.dims or DIMS


def place(encoding, segment_ids, seed=0):
  """Returns positions that restart in each document and jump; fractions where allowed.

  On a grid, this is the row; columns are random.
  """
  rng = np.random.default_rng(seed)
  steps = rng.integers(1, 3, segment_ids.shape)
  if not encoding.whole_positions:
    steps = steps - rng.uniform(size=steps.shape)
  pos = np.cumsum(steps, axis=1)
  starts = np.diff(segment_ids, prepend=-2) != 0
  pos = pos - np.maximum.accumulate(np.where(starts, pos, 0), axis=1)
  # Order differs from position: it starts elsewhere in each row.
  order = np.arange(pos.shape[1]) + 100 * np.arange(len(pos))[:, None]
  columns = rng.integers(0, 5, (*pos.shape, dims_of(encoding).P - 1))
  if not encoding.whole_positions:
    columns = columns + rng.uniform(size=columns.shape)
  pos = np.concatenate([pos[..., None], columns], axis=-1)
  ids = np.random.default_rng(seed + 50).integers(DIMS.V, size=segment_ids.shape)
  return Positions(
    jnp.asarray(pos), jnp.int32(order), jnp.asarray(segment_ids), ids=jnp.int32(ids)
  )


def on_axes(encoding, at):
  """Returns consecutive positions as they are, or for an encoding of a grid row by row."""
  if dims_of(encoding).P == 1:
    return at
  return at.replace(pos=jnp.concatenate(jnp.divmod(at.pos, 4), axis=-1), consecutive=False)


def draw(encoding, *, batch=4, queries=12, keys=12, seed=1):
  rng = np.random.default_rng(seed)
  weights = jax.eval_shape(encoding.with_dims(dims_of(encoding)).init_weights, jax.random.key(0))

  def normal(path, w):
    # This projection of all layers multiplies rows of a table, which have variance 1 here.
    shared = w.ndim > 1 and letters(path[-1].key).startswith('D')
    return rng.normal(size=w.shape) / (len(w) ** 0.5 if shared else 1)

  inputs = dict(
    weights=jax.tree_util.tree_map_with_path(normal, weights),
    q=rng.normal(size=(batch, queries, DIMS.D)),
    k=rng.normal(size=(batch, keys, DIMS.D)),
    v=rng.normal(size=(batch, keys, DIMS.K, DIMS.H)),
  )
  if queries != keys:
    inputs['own'] = rng.normal(size=(batch, queries, DIMS.K, DIMS.H))
  return jax.tree.map(jnp.asarray, inputs)


def heads(x_BTD, number):
  return x_BTD.reshape(*x_BTD.shape[:2], number, -1)[..., : DIMS.H]


def first_state(encoding, batch, capacity=CAPACITY):
  """Gives all rows the first row's draw, so that rows can be compared."""
  state = encoding.with_dims(dims_of(encoding)).init_state(batch, capacity, True, jax.random.key(3))
  first = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), state.sequence)
  return state.replace(sequence=first)


def ends(encoding, inputs, at_q, at_k, *, capacity=CAPACITY):
  """Returns queries, keys and the encoding as attention gets them, after the hooks before it.

  The embedded streams are split into heads without a projection. Queries and keys are different
  streams, as in cross-attention, but a query's own value is the value of the key at its index,
  unless `inputs` has other values.
  """
  bound = Bound(encoding.with_dims(dims_of(encoding)), inputs['weights'])
  state = first_state(encoding, len(inputs['q']), capacity)

  def end(x_BTD, at, number):
    pos, sequence = bound.positions(at, state.sequence)
    at = at.replace(pos=pos, consecutive=at.consecutive and pos is at.pos)
    x_BTD, _ = bound.embed(x_BTD, at, sequence)
    features, _ = bound.features(constrain_batch(x_BTD), at, state.layer)
    return heads(constrain_batch(x_BTD), number), features, at

  q_BTNH, q_features, at_q = end(inputs['q'], at_q, DIMS.N)
  k_BSKH, k_features, at_k = end(inputs['k'], at_k, DIMS.K)
  own = inputs.get('own', inputs['v'])
  q = bound.query(at_q.attach(q_BTNH * DIMS.scale, own, q_features))
  return q, bound.key(at_k.attach(k_BSKH, inputs['v'], k_features)), bound.prepared()


def attention(encoding, inputs, at_q, at_k, *, capacity=CAPACITY, turn=None, **how):
  """Runs all hooks in order. `turn` rotates the key slots, as in a ring buffer."""
  q, k, bound = ends(encoding, inputs, at_q, at_k, capacity=capacity)
  if turn is not None:
    k = jax.tree.map(lambda x: jnp.roll(x, turn, axis=1), k)
  return attend(q, k, bound, ring=turn is not None, **how)


@functools.cache
def solver(encoding):
  def solve(inputs, at, r_BTNH):
    """Returns {mask: per implementation (o, gradient of each query's r . o, with a leading T)}."""
    one_BTNH = jnp.eye(r_BTNH.shape[1])[:, None, :, None, None] * r_BTNH

    def gradients(**how):
      o, back = jax.vjp(lambda inputs: attention(encoding, inputs, at, at, **how), inputs)
      return o, jax.vmap(lambda r: back(r)[0])(one_BTNH)

    return {
      name: (gradients(**mask, **REFERENCE), gradients(**mask, **blocks))
      for name, (mask, blocks) in masks(encoding).items()
    }

  return jax.jit(solve)


@functools.cache
def problem(encoding):
  inputs, at = draw(encoding), place(encoding, segments(*ROWS))
  r_BTNH = jnp.asarray(np.random.default_rng(2).normal(size=(4, 12, DIMS.N, DIMS.H)))
  return inputs, at, r_BTNH, solver(encoding)(inputs, at, r_BTNH)


def summed(answer, r_BTNH):
  """Returns the loss r . o of all queries, and its gradient."""
  o, gradient = answer
  return jnp.sum(r_BTNH * o), jax.tree.map(lambda x: x.sum(axis=0), gradient)
