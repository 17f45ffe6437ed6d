"""Encodings of one axis on positions of several: 'alibi@0+alibi@1'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings import Bound, Chain, Positions, build
from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.core.encoding import Encoding
from posjax.encodings.fox import Fox
from posjax.encodings.interpolate import Interpolate
from posjax.encodings.rope import Rope
from posjax.errors import UserError
from tests.attention.test_cache import check_decoding, jumps
from tests.support.problem import CAUSAL, DIMS, GRID, REFERENCE, attention, close, draw

pytestmark = pytest.mark.usefixtures('float64')


def grid(rng, batch=2, length=12):
  """Returns positions of tokens on a grid, in random order."""
  pos = rng.integers(0, 9, size=(batch, length, 2))
  order = jnp.broadcast_to(jnp.arange(length), (batch, length))
  return Positions(jnp.asarray(pos), order, jnp.zeros_like(order))


def test_each_part_sees_its_own_axis():
  """ALiBi on both axes penalizes the city-block distance; RoPE on one rotates by it alone."""
  at, inputs = grid(np.random.default_rng(0)), draw(Alibi(), batch=2)
  both = build(GRID, layers=('alibi@0+alibi@1',))[0]
  weights = {'alibi@0': {}, 'alibi@1': {}}
  found = attention(both, inputs | {'weights': weights}, at, at, **CAUSAL, **REFERENCE)

  class CityBlock(Encoding):
    axes = 2

    def position_bias(self, q, k):
      distance = jnp.abs(q.pos[:, None, :, None] - k.pos[:, None, None]).sum(axis=-1)
      return -slopes(DIMS.N)[:, None, None] * distance

  close(found, attention(CityBlock(dims=GRID), inputs, at, at, **CAUSAL, **REFERENCE))

  column = at.replace(pos=at.pos[..., 1:])
  for kind in (Rope, Alibi):
    alone = attention(kind(), inputs, column, column, **CAUSAL, **REFERENCE)
    lifted = kind(axis=1).clone(dims=GRID)
    close(attention(lifted, inputs, at, at, **CAUSAL, **REFERENCE), alone)


def test_a_part_moves_positions_of_its_own_axis():
  at, moved = grid(np.random.default_rng(1)), Interpolate(factor=4.0, axis=1)
  for encoding in (moved, Chain((moved, Rope(axis=0)))):
    encoding = encoding.with_dims(GRID)
    state = encoding.init_state(2, 12, False, None).sequence
    there, _ = Bound(encoding).locate(at, state, 'float64')
    np.testing.assert_allclose(there.pos, at.pos / np.array([1, 4]))


def test_decoding_equals_forward_on_a_grid():
  check_decoding(
    np.stack([jumps() // 5, jumps() % 5], axis=-1),
    (Chain((Rope(axis=0), Fox(axis=0), Alibi(axis=1))).clone(dims=GRID),),
  )


def test_names_weights_and_arguments():
  both = build(GRID, layers=('t5_rows@0+t5@1',), t5_rows=dict(buckets=8), t5=dict(buckets=16))[0]
  weights = both.init_weights(jax.random.key(0))
  assert {name: own['table_RN'].shape for name, own in weights.items()} == {
    't5@0': (8, GRID.N), 't5@1': (16, GRID.N),
  }


@pytest.mark.parametrize(('layer', 'message'), [
  ('alibi@2', '^encoding.alibi: there is no axis 2: positions have 2, counted from 0$'),
  ('alibi@x', "^encoding.layers: alibi@x: after @ comes the axis of positions, .*: 'alibi@0'$"),
  ('rope@0+rope@0', r'each once; it is rope@0\+rope@0'),
])
def test_mistakes_are_one_line(layer, message):
  with pytest.raises(UserError, match=message):
    build(GRID, layers=(layer,))
