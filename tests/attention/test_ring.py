"""Ring attention: tokens sharded over devices give the numbers of one device, for every encoding.

Rows of one document, over all shards: a carry then crosses every border between shards. Packed rows
alone would not notice shards that arrive in the wrong order.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.meshes import mesh_of
from support.problem import CAUSAL, DIMS, attention, close, draw, on_axes, place, segments

from posjax.encodings import Positions

pytestmark = pytest.mark.usefixtures('float64')

ROWS = ('0' * 24, '000000000011111122222222', '...00000000000000000000.')
HOW = dict(implementation='blockwise', block=4)
WINDOW = dict(causal=True, window=8)
BOTH_SIDES = dict(causal=False, window=0)


def layouts(encoding):
  """Yields positions and masks: positions that jump, then consecutive ones, shared by all rows."""
  jumps = place(encoding, segments(*ROWS))
  ids = np.random.default_rng(50).integers(DIMS.V, size=(3, 24))
  order = jnp.arange(24, dtype=jnp.int32)[None]
  counted = on_axes(encoding, Positions(
    order[..., None], order, jnp.asarray(segments(*ROWS)), consecutive=True, ids=jnp.int32(ids)
  ))
  yield jumps, CAUSAL
  yield counted, WINDOW
  yield counted, CAUSAL if encoding.causal_only else BOTH_SIDES


def solve(encoding, inputs, r_BTNH):
  """Returns the outputs under each layout, and the gradients of their sum weighted by r."""

  def loss(inputs):
    outputs = [attention(encoding, inputs, at, at, **mask, **HOW) for at, mask in layouts(encoding)]
    return sum(jnp.sum(r_BTNH * o) for o in outputs), outputs

  return jax.grad(loss, has_aux=True)(inputs)


def test_a_ring_of_devices_gives_the_numbers_of_one(encoding):
  inputs = draw(encoding, batch=3, queries=24, keys=24)
  r_BTNH = jnp.asarray(np.random.default_rng(2).normal(size=(3, 24, DIMS.N, DIMS.H)))
  alone = jax.jit(solve, static_argnums=0)(encoding, inputs, r_BTNH)
  with jax.set_mesh(mesh_of(seq=4)):
    program = jax.jit(solve, static_argnums=0).lower(encoding, inputs, r_BTNH).compile()
    around = program(inputs, r_BTNH)
  assert 'collective-permute' in program.as_text()
  close(around, alone)
