"""Every encoding equals its equation: attention agrees with the oracle's loops."""

import functools
import importlib
import math
import pathlib

import jax
import numpy as np
import pytest

from posjax import encodings
from posjax.encodings import Chain
from tests.oracles import attention as oracle
from tests.support.problem import (
  CAPACITY,
  CAUSAL,
  DIMS,
  FOURS,
  REFERENCE,
  attention,
  close,
  draw,
  first_state,
  heads,
  masks,
  place,
  problem,
  segments,
)

pytestmark = pytest.mark.usefixtures('float64')


def parts_of(encoding):
  return encoding.parts if isinstance(encoding, Chain) else (encoding,)


def oracle_path(encoding):
  return pathlib.Path(oracle.__file__).with_name(f'{encodings.name_of(encoding)}.py')


def oracles_of(encoding):
  """Returns each part's oracle, with the part's arguments."""
  if not all(oracle_path(part).exists() for part in parts_of(encoding)):
    pytest.skip('no oracle: see test_an_oracle_exists')
  return [
    (importlib.import_module(f'tests.oracles.{encodings.name_of(part)}'), encodings.arguments(part))
    for part in parts_of(encoding)
  ]


def follow(encoding, inputs, at_q, at_k, **mask):
  """Returns the oracle's output for the problem of `attention`, and the visibility mask.

  The oracle of a chain's last part computes attention; earlier parts move positions, add to the
  stream or rotate queries and keys.
  """
  modules = oracles_of(encoding)
  x, ends = jax.tree.map(np.asarray, (inputs, (at_q, at_k)))
  # The oracles take positions for each row.
  ends = jax.tree.map(lambda a: np.broadcast_to(a, (len(x['q']), *a.shape[1:])), ends)
  at_q, at_k = ends
  seen = oracle.visible(at_q.order, at_k.order, at_q.segment_ids, at_k.segment_ids, **mask)
  states = jax.tree.map(np.asarray, first_state(encoding, len(x['q'])).sequence)
  places = [at_q.pos, at_k.pos]
  if encoding.axes != math.inf:  # oracles of one axis take [B, T], the others [B, T, P]
    places = [pos[..., 0] for pos in places]
  streams = [x['q'], x['k']]
  for i, (module, args) in enumerate(modules):
    weights = x['weights']
    if isinstance(encoding, Chain):
      weights = weights.get(encodings.name_of(encoding.parts[i]), {})
    if hasattr(module, 'positions'):
      state = states[i] if isinstance(encoding, Chain) else states
      places = [
        module.positions(pos, state, args=args, ids=at.ids, segment=at.segment_ids)
        for pos, at in zip(places, ends, strict=True)
      ]
    where = dict(args=args, weights=weights)
    streams = [
      module.embed(s, pos, **where, ids=at.ids)
      for s, pos, at in zip(streams, places, ends, strict=True)
    ]
    if hasattr(module, 'mix'):
      streams = [
        module.mix(s, at.segment_ids, **where) for s, at in zip(streams, ends, strict=True)
      ]
    # The oracles of abacus and bipe append a number for `embed` to the position.
    if encoding.axes != math.inf:
      places = [pos if pos.ndim == 2 else pos[..., 0] for pos in places]
  h = [heads(streams[0], DIMS.N) / DIMS.H**0.5, heads(streams[1], DIMS.K)]
  for module, args in modules[:-1]:
    if hasattr(module, 'rotate'):
      h = [module.rotate(x, pos, **args) for x, pos in zip(h, places, strict=True)]
  ends = [
    dict(x=s, order=at.order, segment=at.segment_ids, capacity=CAPACITY)
    for s, at in zip(streams, (at_q, at_k), strict=True)
  ]
  # Padding has no value.
  own, v = (
    np.where(at.segment_ids[..., None, None] >= 0, values, 0)
    for at, values in ((at_q, x.get('own', x['v'])), (at_k, x['v']))
  )
  ends[0]['v'] = own
  return modules[-1][0].attend(*h, v, *places, seen, **where, ends=ends), seen


def test_an_oracle_exists(encoding):
  for part in parts_of(encoding):
    path = oracle_path(part)
    assert path.exists(), f'write tests/oracles/{path.name}, the equation in NumPy loops'


def test_self_attention_equals_the_oracle(encoding):
  inputs, at, _, answers = problem(encoding)
  for name, (mask, _) in masks(encoding).items():
    want, seen = follow(encoding, inputs, at, at, **mask)
    assert not seen[2, :3].any()  # padding sees nothing
    for o, _ in answers[name]:
      close(o, want, rtol=1e-10, atol=1e-10)


def crossed(encoding):
  """Seven queries, eleven keys, positions shared by all rows, and two queries that see nothing."""
  inputs = draw(encoding, batch=2, queries=7, keys=11)
  at_k = place(encoding, segments('00000.11112'), seed=6)
  at_q = place(encoding, segments('0011.32'), seed=7)
  return inputs, at_q.replace(order=at_q.order + 4), at_k


def test_cross_attention_equals_the_oracle(encoding):
  inputs, at_q, at_k = crossed(encoding)
  found = jax.jit(functools.partial(attention, encoding, **CAUSAL, **REFERENCE))(inputs, at_q, at_k)
  want, seen = follow(encoding, inputs, at_q, at_k, **CAUSAL)
  assert not seen[:, 4:6].any() and seen[:, :4].any()
  close(found, want, rtol=1e-10, atol=1e-10)


def test_cross_attention_in_blocks_equals_the_oracle(encoding):
  inputs, at_q, at_k = crossed(encoding)

  @jax.jit
  def solve(inputs, at_q, at_k):
    return {
      name: attention(encoding, inputs, at_q, at_k, **mask, **FOURS)
      for name, (mask, _) in masks(encoding).items()
    }

  found = solve(inputs, at_q, at_k)
  for name, (mask, _) in masks(encoding).items():
    want, _ = follow(encoding, inputs, at_q, at_k, **mask)
    close(found[name], want, rtol=1e-10, atol=1e-10)
