"""Traits of encodings are true: each declared trait holds, and each undeclared one does not."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import attend
from posjax.encodings import Bound, Encoding
from posjax.encodings.core.encoding import TRAITS
from tests.support.problem import (
  CAPACITY,
  CAUSAL,
  DIMS,
  FIVES,
  REFERENCE,
  attention,
  close,
  dims_of,
  draw,
  ends,
  first_state,
  heads,
  place,
  segments,
)

pytestmark = pytest.mark.usefixtures('float64')

EVICTED = 3


@functools.cache
def measure(encoding):
  """Returns measurements on one row of eight tokens, from one compilation."""
  eight = dict(batch=1, queries=8, keys=8)
  inputs, at = draw(encoding, **eight), place(encoding, segments('00000000'))

  @jax.jit
  def solve(inputs, at):
    q, k, bound = ends(encoding, inputs, at, at)
    attended = functools.partial(attend, encoding=bound, **CAUSAL, **REFERENCE)

    def weights(segment_ids):
      def gather(v):
        q, k, _ = ends(encoding, dict(inputs, v=v, own=0 * v), at, at)
        return attended(q, k.replace(segment_ids=segment_ids))

      none = jnp.zeros_like(inputs['v'])
      # A key's weight is the norm of the output if only that key has a value, of norm 1.
      of_key = lambda s: gather(none.at[:, s, :, 0].set(1)) - gather(none)
      return jnp.linalg.norm(jax.vmap(of_key, out_axes=-2)(jnp.arange(8)), axis=-1)

    state = first_state(encoding, 1)
    there, _ = bound.locate(at, state.sequence, jnp.float64)
    features, _ = bound.features(inputs['q'], there, state.layer)

    def last_head(h_BTNH):
      q = bound.query(there.attach(h_BTNH, inputs['v'], features))
      return jnp.sum(attended(q, k)[:, :, -1])

    small = functools.partial(
      attention, encoding, inputs, at, at, capacity=CAPACITY // 2, **CAUSAL, **REFERENCE
    )
    return dict(
      all=weights(at.segment_ids)[0], evicted=weights(at.segment_ids.at[:, EVICTED].set(-1))[0],
      heads=jax.grad(last_head)(DIMS.scale * heads(inputs['q'], DIMS.N))[0],
      capacity=attended(q, k) - small(),
    )

  return jax.tree.map(np.asarray, solve(inputs, at))


def test_class_variables_are_traits(encoding):
  """A misspelled trait would declare nothing."""
  constants = bool, int, float, str, tuple, type(None)
  for kind in type(encoding).mro()[: type(encoding).mro().index(Encoding)]:
    arguments = {field.name for field in dataclasses.fields(kind)}
    variables = {
      name for name, value in vars(kind).items()
      if isinstance(value, constants) and not name.startswith('_')
    }
    assert variables <= {*TRAITS, *arguments, 'scope'}  # `scope` is Linen's


def test_contiguous(encoding):
  """Evicting a key changes the weight ratio of keys on either side only if `contiguous`."""
  found = measure(encoding)
  far, near = (0, 1, 2), (5, 6)  # keys of query 7, [T, N, S]: before and after the evicted key
  with np.errstate(divide='ignore', invalid='ignore'):  # of heads that see no such key
    ratio = {
      name: np.log(found[name][7][:, far, None]) - np.log(found[name][7][:, None, near])
      for name in ('all', 'evicted')
    }
    change = np.abs(ratio['all'] - ratio['evicted'])
  change = change[~np.isnan(change)]
  assert not np.abs(found['evicted'][:, :, EVICTED]).any()
  if encoding.contiguous:
    assert change.max() > 1e-3
  else:
    assert change.max() < 1e-9


def test_all_heads(encoding):
  """The last head's output depends on other heads' queries only if `all_heads`."""
  gradient = np.abs(measure(encoding)['heads'])
  assert gradient[:, -1].max() > 1e-3
  assert (gradient[:, :-1].max() > 1e-6) == encoding.all_heads


def test_depends_on_capacity(encoding):
  change = np.abs(measure(encoding)['capacity']).max()
  assert change > 1e-3 if encoding.depends_on_capacity else change == 0


def test_causal_only_refuses_other_masks(encoding):
  inputs, at = draw(encoding), place(encoding, segments('000000000000'))
  call = functools.partial(
    jax.eval_shape, functools.partial(attention, encoding, causal=False), inputs, at, at
  )
  if encoding.causal_only:
    with pytest.raises(ValueError, match='is causal only'):
      call()
  else:
    assert call().shape == inputs['q'].shape[:2] + (DIMS.N, DIMS.H)


def test_a_wrapped_ring_buffer_equals_a_plain_cache(encoding):
  """Twelve slots, two of them empty; the first `turn` slots hold the newest keys."""
  inputs = draw(encoding, batch=2, queries=3, keys=12)
  at_k = place(encoding, segments('0000000000..', '..0000000000'))
  last = np.array([10, 12])[:, None] + np.arange(-3, 0)
  at_q = jax.tree.map(lambda x: jnp.stack([x[b, last[b]] for b in range(2)]), at_k)

  @jax.jit
  def solve(inputs, at_q, at_k, turn):
    how = dict(causal=True, window=7)
    plain = attention(encoding, inputs, at_q, at_k, **how, **REFERENCE)
    ring = [
      attention(encoding, inputs, at_q, at_k, turn=turn, **how, **way) for way in (REFERENCE, FIVES)
    ]
    return plain, ring

  for turn in (4, 9):
    plain, ring = solve(inputs, at_q, at_k, turn)
    for got in ring:
      close(got, plain)


def test_a_state_keeps_its_structure_from_the_first_call_on(encoding):
  """The state keeps the structure, shapes and dtypes of `init_state`, so `lax.scan` accepts it."""
  bound = Bound(encoding.with_dims(dims_of(encoding)), draw(encoding)['weights'])
  at, x_BTD = place(encoding, segments('000', '.00')), jnp.ones((2, 3, DIMS.D))
  state = first_state(encoding, 2)

  def embed(state):
    pos, state = bound.positions(at, state)
    return bound.embed(x_BTD, at.replace(pos=pos), state)[1]

  sequence = jax.eval_shape(embed, state.sequence)
  _, layer = jax.eval_shape(bound.features, x_BTD, at, state.layer)
  like = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert like(sequence) == like(state.sequence) and like(layer) == like(state.layer)
