"""Positions at the entry: checked once, errors in one line, arithmetic in wide integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import attend
from posjax.attention.mask import in_chunks
from posjax.dims import Dims
from posjax.encodings import Bound, Positions
from posjax.encodings.alibi import Alibi
from posjax.encodings.core.entry import checked
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.encodings.t5 import T5
from posjax.errors import UserError
from tests.attention.test_lengths import make_model

DIMS = Dims(D=128, N=32, K=32, H=64)  # N = H / 2, where one position per head was once accepted


def run(encoding, at, **how):
  """Runs one row of 12 tokens with fixed content."""
  rng = np.random.default_rng(0)
  q, k, v = (jnp.asarray(rng.normal(size=(1, 12, 32, 64)), jnp.float32) for _ in range(3))
  encoding = encoding.with_dims(DIMS)
  bound = Bound(encoding, encoding.init_weights(jax.random.key(0)))
  queries = bound.query(at.attach(q * DIMS.scale, v))
  return attend(queries, bound.key(at.attach(k, v)), bound, **how)


def places(**changed):
  order = np.arange(12, dtype=np.int32)[None]
  arrays = dict(pos=order[..., None], order=order, segment_ids=np.zeros_like(order))
  return Positions(**{name: jnp.asarray(x) for name, x in (arrays | changed).items()})


SHAPES = {
  r'pos must be \[B or 1, T, P\], of 1 rows and 12 tokens; its shape is \(1, 12\); '
  r'write pos\[\.\.\., None\]': dict(pos=np.zeros((1, 12), np.int32)),
  r'its shape is \(12, 1\)': dict(pos=np.zeros((12, 1), np.int32)),
  r'its shape is \(2, 12, 1\)$': dict(pos=np.zeros((2, 12, 1), np.int32)),
  r'its shape is \(1, 11, 1\)$': dict(pos=np.zeros((1, 11, 1), np.int32)),
  r'order must be \[B or 1, T\], of 1 rows and 12 tokens; its shape is \(12,\)$':
    dict(order=np.zeros(12, np.int32)),
  r'segment_ids must be \[B or 1, T\].* its shape is \(1, 12, 1\)$':
    dict(segment_ids=np.zeros((1, 12, 1), np.int32)),
}
NUMBERS = {
  'pos is uint32': dict(pos=np.zeros((1, 12, 1), np.uint32)),
  'pos is bfloat16.* int32, or float32 for fractions': dict(pos=jnp.zeros((1, 12, 1), 'bfloat16')),
  'pos is float16': dict(pos=np.zeros((1, 12, 1), np.float16)),
  'pos is bool': dict(pos=np.zeros((1, 12, 1), bool)),
  'order is float32.* it must be int32$': dict(order=np.zeros((1, 12), np.float32)),
  'order is uint32': dict(order=np.zeros((1, 12), np.uint32)),
  'segment_ids is bool': dict(segment_ids=np.zeros((1, 12), bool)),
  'segment_ids is complex64': dict(segment_ids=np.zeros((1, 12), np.complex64)),
}


@pytest.mark.parametrize('said', {**SHAPES, **NUMBERS})
def test_errors_for_invalid_positions_are_one_line(said):
  at = places(**{**SHAPES, **NUMBERS}[said])
  with pytest.raises(ValueError, match=said) as raised:
    run(Rope(), at)
  assert '\n' not in str(raised.value)
  model = make_model({}, dtype='float32')
  with pytest.raises(ValueError, match=said.rstrip('$')):  # JAX adds lines to it
    model.apply({'params': {}}, jnp.zeros((1, 12), jnp.int32), at)


def test_a_text_model_refuses_positions_on_grids():
  at = places(pos=np.zeros((1, 12, 3), np.int32))
  params = {'encoding': {'rope': {}}, 'table_VD': jnp.zeros((257, 32))}
  with pytest.raises(UserError, match=r'^encoding\.rope: it reads 1 position axis, but .* 3;'):
    make_model({}).apply({'params': params}, jnp.zeros((1, 12), jnp.int32), at)


@pytest.mark.parametrize('encoding', [Alibi(), T5(buckets=8, max_distance=10)])
@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int8', 'int16'])
def test_narrow_integers_do_not_wrap_around(encoding, dtype):
  """Differences of positions may be negative; a window uses differences of orders."""
  narrow = places(
    pos=np.arange(12, dtype=dtype)[None, :, None], order=np.arange(12, dtype=dtype)[None],
    segment_ids=np.zeros((1, 12), 'int8'),
  )
  for how in (dict(causal=False), dict(causal=False, window=3)):
    np.testing.assert_array_equal(run(encoding, narrow, **how), run(encoding, places(), **how))


def test_positions_per_token_are_not_read_as_positions_per_head():
  """RoPE and NoPE must differ; they were equal when pos without its last axis was accepted."""
  rope, nope = (run(encoding, places()) for encoding in (Rope(), Nope()))
  assert np.abs(rope - nope).max() > 0.5


def test_narrow_segments_of_chunks_do_not_overflow():
  """A model with chunks combines segments and chunks into ids of more than 16 bits."""
  at = places(segment_ids=np.repeat(np.arange(2, dtype='int8'), 6)[None])
  at_least_float32 = in_chunks(checked(at, 1, 12), at.pos, 4).segment_ids
  assert (at_least_float32 == np.array([[0, 0, 0, 0, 1, 1, 65_537, 65_537, *[65_538] * 4]])).all()
