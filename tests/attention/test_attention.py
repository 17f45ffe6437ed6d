"""Attention: visibility, visited blocks, choice of implementation, meshes and edge cases."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from posjax import attention
from posjax.attention import REFERENCE_UP_TO, attend, check_fused, choose
from posjax.attention.mask import extent, fully_visible, in_chunks, reachable, visible
from posjax.dims import Dims
from posjax.encodings import Bound, Chain, Encoding, Positions
from posjax.encodings.alibi import Alibi
from posjax.encodings.nope import Nope
from posjax.encodings.path import Path
from posjax.encodings.pope import Pope
from posjax.encodings.rope import Rope
from posjax.encodings.stick_breaking import StickBreaking
from posjax.errors import UserError
from tests.oracles import attention as oracle
from tests.support.problem import FIVES, FOURS, REFERENCE, close, segments

pytestmark = pytest.mark.usefixtures('float64')

MASKS = [(causal, window) for causal in (True, False) for window in (0, 1, 5)]
DIMS = Dims(D=32, N=4, K=2, H=8)


WAYS = pytest.mark.parametrize('way', [REFERENCE, FIVES], ids=['reference', 'blockwise'])


def at_order(order, segment_ids):
  """Returns positions that equal the order."""
  order = jnp.broadcast_to(jnp.int32(order), jnp.shape(segment_ids))
  return Positions(order[..., None], order, jnp.int32(segment_ids))


def tokens(order, segment_ids, h, v=None):
  """Returns the queries or keys at these positions."""
  return at_order(order, segment_ids).attach(h, v)


def draw_ends(queries, keys, rows=('0', '0')):
  """Returns queries and keys of two batch rows, with one segment per row or those given."""
  rng = np.random.default_rng(0)
  q, k, v = (
    jnp.asarray(rng.normal(size=(2, length, n, DIMS.H)))
    for length, n in [(queries, DIMS.N), (keys, DIMS.K), (keys, DIMS.K)]
  )
  ids = lambda length: segments(*(row * length if len(row) == 1 else row for row in rows))
  q = tokens(np.arange(queries) + keys - queries, ids(queries), q)
  return q, tokens(np.arange(keys), ids(keys), k, v)


# Visibility.


@pytest.mark.parametrize('causal, window', MASKS)
def test_visible_equals_the_oracle_in_any_order(causal, window):
  rng = np.random.default_rng(0)
  for rows_q, rows_k in [(3, 3), (1, 1), (1, 3)]:
    q, k = (
      at_order(rng.integers(-9, 9, shape), rng.integers(-1, 3, shape))
      for shape in [(rows_q, 13), (rows_k, 17)]
    )
    ends = (np.broadcast_to(x, (rows_k, x.shape[1])) for x in (
      q.order, k.order, q.segment_ids, k.segment_ids
    ))
    got = visible(q, k, causal=causal, window=window)
    want = oracle.visible(*ends, causal=causal, window=window)[:, None]
    np.testing.assert_array_equal(got, want, strict=True)
    assert want.any() and not want.all()


@pytest.mark.parametrize('causal, window', MASKS)
def test_reachable_never_misses_a_visible_pair(causal, window):
  rng = np.random.default_rng(1)
  # Blocks near and far, mixed, in one or many segments, partly padding.
  low, spread = rng.integers(-20, 20, (2, 3000, 1, 1)), rng.integers(1, 12, (3000, 1, 1))
  order = low + rng.integers(0, spread, (2, 3000, 2, 3))
  segment_ids = rng.integers(-1, 2, (2, 3000, 1, 1)) + rng.integers(0, 2, (2, 3000, 2, 3))
  segment_ids = np.where(rng.random((2, 3000, 2, 3)) < 0.2, -1, segment_ids)
  q, k = (at_order(order[end], segment_ids[end]) for end in range(2))
  how = dict(causal=causal, window=window)
  reach = jax.vmap(lambda q, k: reachable(extent(q), extent(k), **how))(q, k)
  sees = jax.vmap(functools.partial(visible, **how))(q, k).any(axis=(1, 2, 3, 4))
  assert not (sees & ~reach).any()
  assert 100 < sees.sum() < reach.sum() < 2900
  every = jax.vmap(lambda q, k: fully_visible(extent(q), extent(k), **how))(q, k)
  sees_every = jax.vmap(functools.partial(visible, **how))(q, k).all(axis=(1, 2, 3, 4))
  assert not (every & ~sees_every).any()


def block(first, last, row='0'):
  """Returns tokens of order first, …, last in one segment, or in those given."""
  order = np.arange(first, last + 1)
  return at_order(order, segments(row * len(order) if len(row) == 1 else row))


@pytest.mark.parametrize(
  'q, k, window, expected',
  [
    (block(0, 3), block(4, 7), 0, False),  # above the diagonal
    (block(0, 4), block(4, 7), 0, True),  # on it
    (block(4, 7), block(0, 3), 0, True),  # below it
    (block(4, 7, '1'), block(0, 3), 0, False),  # another segment
    (block(4, 7, '1'), block(0, 3, '0001'), 0, True),
    (block(8, 9), block(0, 3), 5, False),  # 8 - 3 is not less than the window
    (block(8, 9), block(0, 4), 5, True),
    (block(4, 7), block(0, 3, '....'), 0, False),  # padding
    (block(4, 7, '....'), block(0, 3), 0, False),
    (block(0, 3, '0...'), block(1, 4), 0, False),  # the order of padding is ignored
    (block(0, 3), block(2, 5, '..00'), 0, False),
    (block(8, 9), block(0, 5, '0000..'), 5, False),
  ],
)
def test_reachable_skips_what_nothing_sees(q, k, window, expected):
  assert bool(reachable(extent(q), extent(k), causal=True, window=window)) is expected
  assert bool(visible(q, k, causal=True, window=window).any()) is expected


@pytest.mark.parametrize(
  'q, k, window, expected',
  [
    (block(4, 7), block(0, 4), 0, True),
    (block(4, 7), block(0, 5), 0, False),  # 5 is later than 4
    (block(4, 7), block(2, 4), 6, True),
    (block(4, 7), block(1, 4), 6, False),  # 7 - 1 is not less than the window
    (block(4, 7), block(0, 3, '1'), 0, False),
    (block(4, 7, '0001'), block(0, 3), 0, False),
    (block(4, 7), block(0, 3, '0001'), 0, False),
    (block(4, 7, '000.'), block(0, 3), 0, False),
    (block(4, 7), block(0, 3, '.000'), 0, False),
  ],
)
def test_fully_visible_blocks_are_those_without_a_masked_pair(q, k, window, expected):
  assert bool(fully_visible(extent(q), extent(k), causal=True, window=window)) is expected
  assert bool(visible(q, k, causal=True, window=window).all()) is expected


@pytest.mark.parametrize('q, k, any_seen, all_seen', [
  (block(0, 3), block(8, 9), False, False), (block(0, 4), block(8, 9), True, False),
  (block(8, 9), block(0, 3), False, False), (block(8, 9), block(0, 4), True, False),
  (block(0, 2), block(2, 4), True, True), (block(0, 2), block(2, 5), True, False),
  (block(2, 4), block(0, 2), True, True), (block(2, 5), block(0, 2), True, False),
])
def test_a_window_has_two_sides(q, k, any_seen, all_seen):
  how = dict(causal=False, window=5)
  seen = visible(q, k, **how)
  assert bool(reachable(extent(q), extent(k), **how)) is bool(seen.any()) is any_seen
  assert bool(fully_visible(extent(q), extent(k), **how)) is bool(seen.all()) is all_seen


def chunked(pos, row, chunk):
  """Returns which of these tokens see each other in chunks, regardless of order: [T, S]."""
  at = at_order(np.arange(len(row)), segments(row))
  at = in_chunks(at, jnp.asarray(pos)[None, :, None], chunk)
  return np.asarray(visible(at, at, causal=False, window=0)[0, 0])


def test_chunks_do_not_cross_documents():
  """With padding on both sides; first chunks of two documents do not see each other."""
  row, pos = '..00000111111.', np.array([0, 0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 6, 9])
  got = chunked(pos, row, 3)
  for i, j in np.ndindex(*got.shape):
    assert got[i, j] == (row[i] == row[j] != '.' and pos[i] // 3 == pos[j] // 3)


def test_distant_chunks_stay_separate():
  """Checks the last chunk with a unique number and the first without one."""
  last = 65_535 * 3
  np.testing.assert_array_equal(
    chunked(np.array([0, 256 * 3, last, last + 2, last + 3, 0]), '000001', 3),
    [
      [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0],
      [1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1],
    ],
  )
  at = at_order(np.arange(3), np.full((1, 3), 32_767))  # the largest segment id that fits
  at = in_chunks(at, jnp.array([0, last, last + 2])[None, :, None], 3)
  assert at.segment_ids.dtype == jnp.int32 and (at.segment_ids >= 0).all()
  assert at.segment_ids[0, 0] < at.segment_ids[0, 1] == at.segment_ids[0, 2]


# Which blocks are visited.


class Visits(Encoding):
  """Records in `seen` each pair of blocks whose bias it computes; rows share the bias."""

  seen = []

  def position_bias(self, q, k):
    note = lambda q, k: self.seen.append((int(q), int(k)))
    jax.debug.callback(note, q.order[0, 0], k.order[0, 0])


class Narrow(Visits):
  widest_block = 4


class Wide(Visits):
  tile = 0.5, 2


def visits(q, k, module=None, **how):
  """Returns the first query order and key order of each visited pair of blocks."""
  Visits.seen.clear()
  jax.block_until_ready(attend(q, k, Bound(module or Visits()), **how))
  jax.effects_barrier()
  return sorted(Visits.seen)


@pytest.mark.parametrize('causal, window', [(True, 0), (True, 5), (False, 0), (False, 5)])
@pytest.mark.parametrize('row', ['0' * 24, '0' * 8 + '1' * 16, '....' + '0' * 16 + '....'])
def test_fully_masked_blocks_are_skipped(causal, window, row):
  q, k = draw_ends(24, 24, rows=(row, row))
  how = dict(causal=causal, window=window)
  mask = oracle.visible(q.order, k.order, q.segment_ids, k.segment_ids, **how)[0]
  blocks = mask.reshape(6, 4, 6, 4).any(axis=(1, 3))
  assert visits(q, k, **how, **FOURS) == [(4 * i, 4 * j) for i, j in np.argwhere(blocks)]
  assert blocks.all() == (row == '0' * 24 and not causal and not window)


def test_auto_uses_blockwise_for_many_scores():
  side = math.isqrt(REFERENCE_UP_TO)
  for T, S in [(side, side), (1, side**2), (side, side + 1), (2, side**2)]:
    kind, reason = choose(T, S, Nope().with_dims(DIMS))
    assert kind == ('reference' if T * S <= side**2 else 'blockwise') and f'{T} x {S}' in reason
  assert visits(*draw_ends(side, side), block=side // 2) == [(0, 0)]
  # The last query has the order of the last key, so queries begin at 1.
  first, second = 1, 1 + side // 2
  want = [(first, 0), (first, side // 2), (second, 0), (second, side // 2), (second, side)]
  assert visits(*draw_ends(side, side + 1), block=side // 2) == want


def test_widest_block_limits_the_block_size():
  pairs = [(0, 0), (4, 0), (4, 4)]
  for how in (dict(implementation='blockwise', block=8), {}):
    assert visits(*draw_ends(8, 8), Narrow(), **how) == pairs
  assert visits(*draw_ends(4, 4), Narrow()) == [(0, 0)]


def test_tile_sets_the_block_shape():
  pairs = [(2 * i, 8 * j) for i in range(6) for j in range(2) if 8 * j <= 2 * i + 1]
  assert visits(*draw_ends(12, 12), Wide(), **FOURS) == pairs


# Edge cases.


class Poison(Encoding):
  """Adds `value` to the score of each masked pair."""

  value: float = 0.0

  def score(self, s_BNTS, pair, carry):
    return jnp.where(pair.mask, s_BNTS, s_BNTS + self.value), carry


def solve(q, k, encoding, **how):
  """Returns the output, and gradients with respect to queries, keys and values."""

  def f(q_BTNH, k_BSKH, v_BSKH):
    return attend(q.replace(h=q_BTNH), k.replace(h=k_BSKH, v=v_BSKH), encoding, **how)

  o, back = jax.vjp(f, q.h, k.h, k.v)
  return o, back(jnp.cos(o))


@WAYS
def test_masked_scores_reach_neither_output_nor_gradient(way):
  """exp(1e30) is infinite; multiplied by 0 in the backward pass, it would give NaN."""
  q, k = draw_ends(12, 12, rows=('..0000111122', '000000000000'))

  @jax.jit
  def every(q, k):
    values = (0.0, 1e30, -1e30, math.inf, math.nan)
    return [solve(q, k, Bound(Poison(value=x)), causal=True, window=4, **way) for x in values]

  want, *others = every(q, k)
  for got in others:
    close(got, want, 1e-13, 1e-13)


@WAYS
def test_a_query_that_sees_nothing_gets_zero_and_gives_no_gradient(way):
  q, k = draw_ends(12, 12, rows=('..00001111..', '000000000000'))
  k = k.replace(segment_ids=k.segment_ids.at[0, 6:].set(2).at[1, 9:].set(-1))
  blind = np.zeros((2, 12), bool)
  blind[0, :2] = blind[0, 6:] = True
  o, (q_bar, k_bar, v_bar) = jax.jit(functools.partial(solve, encoding=Bound(Nope()), **way))(q, k)
  unseen = np.zeros((2, 12), bool)
  unseen[0, :2] = unseen[0, 6:] = unseen[1, 9:] = True
  for x, zero in [(o, blind), (q_bar, blind), (k_bar, unseen), (v_bar, unseen)]:
    assert not x[zero].any()
  for x, zero in [(o, blind), (v_bar, unseen)]:
    assert np.abs(x[~zero]).max(axis=(1, 2)).min() > 1e-3
  assert all(np.isfinite(x).all() for x in (o, q_bar, k_bar, v_bar))


@WAYS
def test_grouped_heads_equal_repeated_heads(way):
  """Query head n reads key head n // G; gradients of a shared key head are added."""
  q, k = draw_ends(7, 12, rows=('0', '0'))
  G = DIMS.N // DIMS.K
  repeat = lambda x: jnp.repeat(x, G, axis=2)
  many = k.replace(h=repeat(k.h), v=repeat(k.v))
  bound = Bound(Alibi().with_dims(DIMS))
  run = jax.jit(functools.partial(solve, encoding=bound, **way))
  o, (q_bar, *key_bars) = run(q, k)
  want, (want_q_bar, *wide_bars) = run(q, many)
  add = lambda x: x.reshape(*x.shape[:2], DIMS.K, G, DIMS.H).sum(axis=3)
  close((o, q_bar, *key_bars), (want, want_q_bar, *map(add, wide_bars)), 1e-12, 1e-12)


@WAYS
def test_scores_and_sums_of_bfloat16_are_float32(way):
  """bfloat16 represents neither 256.5 nor 257."""
  q_h = jnp.bfloat16([1, 0.5]).reshape(1, 1, 1, 2)
  k_h = jnp.bfloat16([[256, 0], [256, 1]]).reshape(1, 2, 1, 2)
  q, k = tokens([0], segments('0'), q_h), tokens([0, 1], segments('00'), k_h, k_h)
  got = attend(q, k, Bound(Nope()), causal=False, **way)[0, 0, 0, 1]
  assert got == jnp.bfloat16(1 / (1 + math.exp(-0.5)))
  ones = jnp.ones((1, 257, 1, 2), jnp.bfloat16)
  k = tokens(np.arange(257), segments('0' * 257), 0 * ones, ones)
  assert (attend(q, k, Bound(Nope()), causal=False, **way) == 1).all()


class Moved(Encoding):
  """Adds `value` to the score of each pair."""

  value: float = 0.0

  def score(self, s_BNTS, pair, carry):
    return s_BNTS + self.value, carry


@WAYS
def test_adding_a_constant_to_all_scores_changes_nothing(way):
  """Even for a very low value: exp(-1e5) is 0."""
  q, k = draw_ends(12, 12, rows=('..0000111122', '000000000000'))

  @jax.jit
  def every(q, k):
    values = (0.0, 1e5, -1e5)
    return [solve(q, k, Bound(Moved(value=x)), causal=True, window=4, **way) for x in values]

  want, *others = every(q, k)
  for got in others:
    close(got, want, 1e-9, 1e-9)


@WAYS
def test_sums_of_bfloat16_are_rounded_once(way):
  """Sixteen keys with equal scores weigh 1/16 each, which bfloat16 represents exactly."""
  draw = lambda seed: np.random.default_rng(seed).normal(size=(1, 16, 1, 64))
  zeros, v, r = (jnp.bfloat16(x) for x in (np.zeros((1, 16, 1, 64)), draw(0), draw(1)))
  row = segments('0' * 16)
  q, k = tokens(np.arange(16), row, zeros), tokens(np.arange(16), row, zeros, v)

  def gather(v):
    return attend(q, k.replace(v=v), Bound(Nope()), causal=False, **way)

  @jax.jit
  def both(v, r):
    o, back = jax.vjp(gather, v)
    return o, back(r)[0]

  for got, x in zip(both(v, r), (v, r), strict=True):
    mean = jnp.mean(jnp.float64(x), axis=1, keepdims=True)
    close(got, jnp.broadcast_to(jnp.bfloat16(mean), got.shape), 0, 0)


# Fused attention; on a CPU, JAX's implementation in XLA.


@pytest.mark.parametrize('causal, window', [(True, 0), (True, 4), (False, 4)])
def test_fused_equals_reference(causal, window):
  """Also for keys wider than values, queries that see nothing, and keys that no query sees."""
  q, k = draw_ends(12, 12, rows=('..00001111..', '000000000000'))
  twice = lambda x: jnp.concatenate([x, 2 * x], axis=-1)

  @jax.jit
  def both(q, k):
    at_least_float32 = q.replace(h=twice(q.h)), k.replace(h=twice(k.h))
    return [
      [solve(*ends, Bound(Nope()), causal=causal, window=window, implementation=way)
       for way in ('fused', 'reference')]
      for ends in ((q, k), at_least_float32)
    ]

  for got, want in both(q, k):
    close(got, want, 1e-5, 1e-5)  # JAX computes scores in float32


def with_hook(hook):
  return type('Stub', (Encoding,), {hook: lambda self, *args: args})()


@pytest.mark.parametrize('hook', [
  'key_block', 'position_bias', 'init_carry', 'score', 'output', 'finish',
])
def test_fused_refuses_encodings_with_hooks_within_attention(hook):
  q, k = draw_ends(3, 3)
  for encoding in (with_hook(hook), Chain((Rope(), with_hook(hook)))):
    with pytest.raises(UserError, match=f'^attention.implementation: .* run hook {hook} of '):
      attend(q, k, Bound(encoding), implementation='fused')
  for hook in ('init_state', 'positions', 'position_features', 'embed', 'features', 'query', 'key'):
    check_fused(with_hook(hook))


def test_an_unknown_implementation_is_refused():
  with pytest.raises(ValueError, match="^implementation is 'flash'; valid: reference, blockwise, "):
    attend(*draw_ends(3, 3), Bound(Nope()), implementation='flash')


@pytest.mark.parametrize('T, S, module, H, dtype, kind', [
  (64, 64, Rope(), 64, 'bfloat16', 'fused'), (64, 64, Rope(), 128, 'float16', 'fused'),
  (64, 64, Rope(), 64, 'float32', 'reference'), (64, 64, Rope(), 136, 'bfloat16', 'reference'),
  (64, 64, Rope(), 68, 'bfloat16', 'reference'), (64, 64, Alibi(), 64, 'bfloat16', 'reference'),
  (1, 64, Rope(), 64, 'bfloat16', 'reference'), (64, 63, Rope(), 64, 'bfloat16', 'reference'),
  (63, 63, Rope(), 64, 'bfloat16', 'reference'), (2, 64, Rope(), 64, 'bfloat16', 'fused'),
  (64, 64, Pope(), 64, 'bfloat16', 'fused'), (64, 64, Pope(), 72, 'bfloat16', 'reference'),
  (64, 64, Path(), 64, 'bfloat16', 'reference'), (64, 65, Path(), 64, 'bfloat16', 'blockwise'),
])
def test_auto_uses_cudnn_where_supported(T, S, module, H, dtype, kind, monkeypatch):
  """Requires 16 bits, even lengths, and head widths that are multiples of 8 up to 128."""
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  encoding = module.with_dims(Dims(D=32, N=4, K=2, H=H))
  assert choose(T, S, encoding, jnp.dtype(dtype))[0] == kind
  monkeypatch.setattr(jax, 'default_backend', lambda: 'cpu')
  assert choose(T, S, encoding, jnp.dtype(dtype))[0] != 'fused'


def test_auto_depends_on_the_dtype_of_the_queries(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  monkeypatch.setattr(attention, 'fused', lambda q, k, **how: 'fused')
  q, k = draw_ends(4, 4)
  assert attend(q.replace(h=jnp.bfloat16(q.h)), k, Bound(Nope().with_dims(DIMS))) == 'fused'


# Meshes.


@pytest.mark.parametrize('axis_type', [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize('module', [Alibi(), StickBreaking(remainder=False)], ids=['', 'carry'])
@WAYS
def test_attention_works_in_shard_map_and_on_explicit_meshes(axis_type, module, way):
  """Inside `shard_map`, and on an explicit mesh: attention does not set a mesh itself."""
  q, k = draw_ends(12, 12)
  encoding = Bound(module.with_dims(DIMS))
  function = lambda q, k: solve(q, k, encoding, **way)
  want = jax.jit(function)(q, k)
  mesh = jax.make_mesh((2,), ('x',), axis_types=(axis_type,), devices=jax.devices()[:2])
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('x'))
  if axis_type == AxisType.Auto:
    function = jax.shard_map(function, mesh=mesh, in_specs=rows.spec, out_specs=rows.spec)
  with jax.set_mesh(mesh):
    q, k = jax.device_put((q, k), rows)
    close(jax.jit(function)(q, k), want)
