"""For every encoding, decoding from the cache equals one forward pass over the entire text."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings import Chain, Positions
from posjax.encodings.alibi import Alibi
from posjax.encodings.cable import Cable
from posjax.encodings.cope import Cope
from posjax.encodings.fox import Fox
from posjax.encodings.nope import Nope
from posjax.encodings.path import Path
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.encodings.stick_breaking import StickBreaking
from posjax.encodings.t5 import T5
from posjax.models.pattern import Pattern
from posjax.models.transformer import Transformer
from tests.support.problem import FIVES, REFERENCE, close, dims_of, segments

pytestmark = pytest.mark.usefixtures('float64')

LENGTH = 24
PADDING = 3  # of the second row; no divisor or multiple of a chunk or window below
DRAW = jax.random.key(11)
# Layers with different encodings, windows and chunks; in the last pattern, layers of one encoding
# also differ, because each has its own weights.
PATTERNS = {
  'RNoPE-SWA': ((Rope(), Nope()), (5, 0)),
  'local and global bases': ((Rope(base=100.0), Rope()), (5, 0)),
  'chunks': ((Rope(), Nope()), (0,), (5, 0)),
  'chunks and carries': ((StickBreaking(), Cope(rows=4)), (0,), (5, 0)),
  'chunks, windows, carries': ((Chain((Fox(), Cable())), Nope()), (6, 0), (5, 0)),
  'with chains': ((Chain((Randomize(places=90), Rope())), T5(buckets=8, max_distance=40)), (0,)),
  'weights of their own': ((Fox(), Path(rank=5), Fox()), (0, 0, 6)),
}

FAST = {'RNoPE-SWA', 'chunks', 'chunks and carries', 'chunks, windows, carries'}


def transformer(encodings, attention, windows=(0,), chunks=(0,)):
  """Returns a model of at least two layers; patterns of three layers occur twice."""
  layers = len(encodings) * (1 if len(encodings) == 2 else 2)
  model = Transformer(
    pattern=None, vocabulary=17, dim=32, layers=layers, heads=4, kv_heads=2,
    head_dim=8, hidden=48, dtype='float64', attention=attention, axes=dims_of(encodings[0]).P,
  )
  encodings = tuple(encoding.with_dims(model.dims) for encoding in encodings)
  return model.clone(pattern=Pattern(encodings, windows, chunks=chunks))


def draw_params(model, *args):
  """Returns random weights, large ones for the encoding; no norm keeps a scale of 1."""
  shapes = jax.eval_shape(functools.partial(model.init, rng=DRAW), jax.random.key(0), *args)
  shapes = shapes['params']
  rng = np.random.default_rng(8)

  def normal(path, leaf):
    stddev = 1.0 if path[0].key == 'encoding' else 0.3
    return jnp.asarray(rng.normal(scale=stddev, size=leaf.shape))

  return jax.tree_util.tree_map_with_path(normal, shapes)


def text(pos):
  """Returns two rows of tokens at positions [B, T] or [B, T, P]; the second is padded right."""
  tokens_BT = jnp.asarray(np.random.default_rng(9).integers(17, size=(2, LENGTH)))
  order = jnp.int32(np.arange(LENGTH)[None].repeat(2, 0))
  segment_ids = segments('0' * LENGTH, '0' * (LENGTH - PADDING) + '.' * PADDING)
  if pos.ndim == 2:
    pos = pos[..., None]
  return tokens_BT, Positions(jnp.asarray(pos), order, jnp.asarray(segment_ids))


def shift_second(x):
  """Moves padding to the left, as in all prompts. Order counts columns, padding included."""
  return x.at[1].set(jnp.roll(x[1], PADDING, axis=0))


def decode(model, params, tokens_BT, at):
  """Returns logits: prefill in two chunks of eight, growing the cache between, then by token."""
  prefill, step = jax.jit(model.apply), jax.jit(lambda *args: model.apply(*args))
  # Drawn positions depend on the capacity.
  spare = 0 if any(e.depends_on_capacity for e in model.pattern.encodings) else 3
  cache = model.init_cache(2, LENGTH + spare, slots=8, pos_dtype=at.pos.dtype, rng=DRAW)
  logits = []
  starts = [0, 8, *range(16, LENGTH)]
  for start, stop in zip(starts, [*starts[1:], LENGTH], strict=True):
    part = slice(start, stop)
    now = Positions(at.pos[:, part], at.order[:, part], at.segment_ids[:, part])
    call = prefill if stop - start == 8 else step
    new, cache = call({'params': params}, tokens_BT[:, part], now, cache)
    logits.append(new)
    if start == 0:
      cache = model.grow(cache, LENGTH + spare)
  assert prefill._cache_size() == 2 and step._cache_size() == 1  # no retracing
  return jnp.concatenate(logits, axis=1)


def check_decoding(pos, encodings, *layers):
  """One forward pass uses `reference`; decoding uses `blockwise` and meets empty slots."""
  tokens_BT, at = text(pos)
  model = transformer(encodings, REFERENCE, *layers)
  params = draw_params(model, tokens_BT, at)
  want, _ = jax.jit(model.apply)({'params': params}, tokens_BT, at, rng=DRAW)
  at = Positions(shift_second(at.pos), at.order, shift_second(at.segment_ids))
  got = decode(transformer(encodings, FIVES, *layers), params, shift_second(tokens_BT), at)
  close(got[0], want[0], rtol=1e-10, atol=1e-10)
  close(got[1, PADDING:], want[1, :-PADDING], rtol=1e-10, atol=1e-10)


def jumps():
  """Returns positions with gaps, no farther than a draw reaches."""
  steps = np.random.default_rng(10).integers(1, 3, size=(2, LENGTH), dtype=np.int32)
  return np.cumsum(steps, axis=1, dtype=np.int32) - 1


def test_cached_decoding_equals_forward(encoding):
  counted = np.arange(LENGTH, dtype=np.int32)[None].repeat(2, 0)
  pos = counted if encoding.depends_on_capacity else jumps()
  if dims_of(encoding).P > 1:  # row by row
    pos = np.stack([pos // 5, pos % 5], axis=-1)
  check_decoding(pos, (encoding,))


@pytest.mark.parametrize('pattern', [
  pytest.param(pattern, id=name, marks=[] if name in FAST else [pytest.mark.slow])
  for name, pattern in PATTERNS.items()
])
def test_cached_decoding_of_patterns_equals_forward(pattern):
  check_decoding(np.arange(LENGTH, dtype=np.int32)[None].repeat(2, 0), *pattern)


def test_cached_positions_may_be_fractions():
  check_decoding(np.arange(LENGTH)[None].repeat(2, 0) / 2, (Alibi(bias_max=2.0),))
