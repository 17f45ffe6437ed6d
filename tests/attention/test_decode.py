"""The key cache: which slot holds which token, and padding that leaves no trace."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import attend, decode
from posjax.dims import Dims
from posjax.encodings import Bound, Positions
from posjax.encodings.alibi import Alibi
from posjax.encodings.nope import Nope
from posjax.encodings.stick_breaking import StickBreaking

DIMS = Dims(D=8, N=2, K=1, H=4)
ENCODING = Bound(Nope().with_dims(DIMS))
SEED = 3


def tokens(start, stop, padding=0, heads=1, consecutive=False):
  """Returns keys or queries of tokens `start` to `stop`; the first `padding` are padding."""
  order = jnp.arange(start, stop, dtype=jnp.int32)[None]
  segment_ids = jnp.where(order < padding, -1, 0)
  at = Positions(order[..., None], order, segment_ids, consecutive=consecutive)
  h = np.random.default_rng(SEED).normal(size=(1, 40, heads, DIMS.H))[:, start:stop]
  v = np.random.default_rng(SEED + 1).normal(size=(1, 40, 1, DIMS.H))[:, start:stop]
  return at.attach(jnp.asarray(h, jnp.float32), jnp.asarray(v, jnp.float32))


@functools.partial(jax.jit, static_argnames=('window', 'ring'))
def stored(q, k, keys, length, window=0, ring=False, encoding=ENCODING):
  return decode.attend_stored(q, k, keys, length, encoding, window=window, ring=ring)


def read(parts, slots, padding=0, window=0):
  """Returns outputs of all tokens, decoded in parts with a cache of `slots`, and the final keys."""
  keys, outputs, ring = decode.empty(tokens(0, 1), 1, slots), [], window > 0
  for start, stop in zip(parts, parts[1:], strict=False):
    q, k = tokens(start, stop, padding, DIMS.N), tokens(start, stop, padding)
    o, keys = stored(q, k, keys, jnp.int32(start), window=window, ring=ring)
    outputs.append(o)
  return jnp.concatenate(outputs, axis=1), keys


@pytest.mark.parametrize(('parts', 'slots'), [
  ((0, 5, 6, 7, 8), 9), ((0, 3, 4, 9, 10), 4), ((0, 1, 2, 3, 4, 5, 6, 7), 3), ((0, 11), 4),
  ((0, 4, 8, 12), 4), ((0, 2, 3, 7, 8, 9), 5),
])
def test_a_slot_holds_its_newest_token(parts, slots):
  _, keys = read(parts, slots, window=slots)
  newest = {token % slots: token for token in range(parts[-1])}
  everything = tokens(0, parts[-1])
  for slot in range(slots):
    if slot not in newest:
      assert keys.segment_ids[0, slot] == -1
      continue
    token = newest[slot]
    assert (keys.order[0, slot], keys.segment_ids[0, slot]) == (token, 0)
    assert keys.pos[0, slot, 0] == token
    np.testing.assert_array_equal(keys.h[0, :, slot], everything.h[0, token])
    np.testing.assert_array_equal(keys.v[0, :, slot], everything.v[0, token])


@pytest.mark.parametrize(('parts', 'slots', 'window'), [
  ((0, 5, 6, 7, 12), 12, 0), ((0, 3, 4, 9, 10, 11), 4, 4), ((0, 7, 8, 9, 10), 3, 3),
])
def test_decoding_in_parts_equals_one_pass(parts, slots, window):
  got, _ = read(parts, slots, window=window)
  n = parts[-1]
  want = attend(tokens(0, n, heads=DIMS.N), tokens(0, n), ENCODING, window=window)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_decoding_accepts_positions_declared_consecutive():
  """Positions of two calls together are not consecutive."""
  encoding, keys = Bound(Alibi().with_dims(DIMS)), decode.empty(tokens(0, 1), 1, 9)
  got = []
  for start, stop in ((0, 4), (4, 5), (5, 9)):
    ends = (tokens(start, stop, heads=n, consecutive=True) for n in (DIMS.N, 1))
    o, keys = stored(*ends, keys, jnp.int32(start), encoding=encoding)
    got.append(o)
  want = attend(tokens(0, 9, heads=DIMS.N), tokens(0, 9), encoding)
  np.testing.assert_allclose(jnp.concatenate(got, axis=1), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('kind', [Nope, StickBreaking])  # StickBreaking adds the token's own value
def test_stored_padding_is_ignored(kind):
  """NaN in padding reaches no query and no slot."""
  encoding = Bound(kind().with_dims(DIMS))
  nan = lambda x: x.replace(
    h=jnp.where(x.segment_ids[..., None, None] < 0, jnp.nan, x.h),
    v=jnp.where(x.segment_ids[..., None, None] < 0, jnp.nan, x.v),
  )
  keys = decode.empty(tokens(0, 1), 1, 9)
  q, k = nan(tokens(0, 6, 2, DIMS.N)), nan(tokens(0, 6, 2))
  first, keys = stored(q, k, keys, jnp.int32(0), encoding=encoding)
  assert jnp.isfinite(first).all() and jnp.isfinite(keys.h).all() and jnp.isfinite(keys.v).all()
  ends = tokens(6, 7, 2, DIMS.N), tokens(6, 7, 2)
  then, _ = stored(*ends, keys, jnp.int32(6), encoding=encoding)
  want = attend(tokens(2, 7, heads=DIMS.N), tokens(2, 7), encoding)
  got = jnp.concatenate([first[:, 2:], then], axis=1)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_growing_a_cache_keeps_its_keys():
  _, keys = read((0, 4, 5), 5)
  grown = decode.grow(keys, 8)
  assert grown.segment_ids.tolist() == [[0] * 5 + [-1] * 3]
  np.testing.assert_array_equal(grown.h[:, :, :5], keys.h)
  np.testing.assert_array_equal(grown.v[:, :, :5], keys.v)
  o, _ = stored(tokens(5, 6, heads=DIMS.N), tokens(5, 6), grown, jnp.int32(5))
  want = attend(tokens(5, 6, heads=DIMS.N), tokens(0, 6), ENCODING)
  np.testing.assert_allclose(o, want, rtol=1e-5, atol=1e-6)


def test_rows_that_share_a_new_key_each_get_it():
  keys = decode.empty(tokens(0, 1), 2, 4)
  keys = decode.write(keys, tokens(0, 1), 2)
  assert keys.segment_ids.tolist() == [[-1, -1, 0, -1]] * 2
  np.testing.assert_array_equal(keys.h[1, :, 2], tokens(0, 1).h[0, 0])
