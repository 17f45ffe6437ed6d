"""Rotary encodings on grids: numbers of public libraries, and exact identities, in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.dims import Dims
from posjax.encodings import Bound, Chain, Positions
from posjax.encodings.cape import Cape
from posjax.encodings.comrope import Comrope
from posjax.encodings.core.tokens import NOWHERE
from posjax.encodings.liere import Liere
from posjax.encodings.parts import planes as planes_lib
from posjax.encodings.parts.matrices import exponential, skew
from posjax.encodings.parts.rotation import frequencies
from posjax.encodings.rope import Rope
from posjax.encodings.rope_mixed import RopeMixed
from posjax.encodings.rope_nd import RopeNd
from posjax.optimizer import is_decayed
from posjax.tasks.core import grids
from tests.encodings.test_oracles import close, tokens
from tests.oracles import matrices
from tests.oracles import rope_nd as oracle
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')

# The library computes positions or frequencies in float32.
ROUNDED = dict(rtol=0, atol=3e-6)
EXACT = dict(rtol=0, atol=1e-12)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def bound_of(encoding, x_BTNH, pos, weights=None):
  """Returns the encoding with dims that fit, and positions [B or 1, T, P]."""
  pos = jnp.asarray(pos).reshape(-1, *pos.shape[-2:])
  zeros = jnp.zeros(pos.shape[:2], jnp.int32)
  dims = Dims(N=x_BTNH.shape[2], K=x_BTNH.shape[2], H=x_BTNH.shape[3], P=pos.shape[-1])
  return Bound(encoding.with_dims(dims), weights or {}), Positions(pos, zeros, zeros)


def turned(encoding, x_BTNH, pos, weights=None):
  """Returns keys after the hooks, for positions [T, P] or [B, T, P]."""
  bound, at = bound_of(encoding, x_BTNH, pos, weights)
  x_BTNH = jnp.asarray(x_BTNH)
  features, _ = bound.features(x_BTNH[:, :, 0], at, ())
  return bound.key(at.attach(x_BTNH, x_BTNH, features)).h


def tables(encoding, width, pos):
  """Returns sines and cosines [T, width] with each pair's number at both of its channels."""
  bound, at = bound_of(encoding, np.zeros((1, 1, 1, width)), pos)
  cos_TC, sin_TC = (x[0] for x in bound.position_features(at, jnp.float64))
  spread = {'half': lambda x: np.tile(x, 2), 'interleaved': lambda x: np.repeat(x, 2, axis=-1)}
  return tuple(spread[encoding.layout](np.asarray(x)) for x in (sin_TC, cos_TC))


# Numbers of the libraries.


def test_dinov3_equals_transformers():
  z, case = golden('rope2d'), 'dinov3/d8_2x3'
  encoding, pos = RopeNd(dict(layout='dinov3')), grids.centered(2, 3)
  sin, cos = tables(encoding, 8, pos)
  close(sin, z[f'{case}/sin'], **EXACT)
  close(cos, z[f'{case}/cos'], **EXACT)
  # Five tokens without a place: a class token and four registers.
  pos = np.concatenate([np.full((5, 2), float(NOWHERE)), pos])
  for x in 'qk':
    got = turned(encoding, tokens(z[f'{case}/{x}']), pos)
    close(tokens(got), z[f'{case}/{x}_rot'], **EXACT)


@pytest.mark.parametrize('case, unit, periods', [
  ('separate', None, ()), ('min', min, ()), ('max', max, ()), ('periods0.5-90', None, (0.5, 90.0)),
])
def test_dinov3_equals_timm(case, unit, periods):
  z = golden('rope2d')
  encoding = RopeNd(dict(layout='dinov3', periods=periods))
  got = np.concatenate(tables(encoding, 8, grids.centered(2, 3, unit=unit)), axis=-1)
  close(got, z[f'timm_dinov3/d8_2x3_{case}'], **ROUNDED)


def test_pixtral_equals_transformers():
  z, case = golden('rope2d'), 'pixtral/d8_2x3'
  encoding, pos = RopeNd(dict(layout='pixtral')), z[f'{case}/position_hw']
  theta_PC = planes_lib.table(encoding.planes, 2, 8)
  close(np.sort(theta_PC.sum(axis=0))[::-1], np.sort(z[f'{case}/inv_freq'])[::-1], **EXACT)
  sin, cos = tables(encoding, 8, pos)
  close(sin, z[f'{case}/sin'], **EXACT)
  close(cos, z[f'{case}/cos'], **EXACT)
  close(tokens(turned(encoding, tokens(z[f'{case}/q']), pos)), z[f'{case}/q_rot'], **EXACT)


PIXELS = dict(layout='pixels', max_frequency=64.0)
PIXEL_GRID = grids.spread(2, 3, low=-1.0, high=1.0)


@pytest.mark.parametrize('case, planes, pos, pairs, tolerance', [
  ('lang', {}, grids.grid(2, 3), 'interleaved', EXACT),
  ('lang_half', {}, grids.grid(2, 3), 'half', EXACT),
  ('lang_xy', {}, grids.grid(2, 3)[:, ::-1], 'interleaved', EXACT),
  ('lang_ref', {}, grids.scaled((2, 3), (7, 7)), 'interleaved', ROUNDED),
  ('pixel', PIXELS, PIXEL_GRID, 'interleaved', ROUNDED),
  ('pixel_linear', {**PIXELS, 'linear': True}, PIXEL_GRID, 'interleaved', ROUNDED),
])
def test_axial_equals_timm(case, planes, pos, pairs, tolerance):
  z, name = golden('rope2d'), 'timm_axial/d8_2x3'
  encoding = RopeNd(planes, pairs)
  close(np.concatenate(tables(encoding, 8, pos), axis=-1), z[f'{name}/{case}_embed'], **tolerance)
  close(tokens(turned(encoding, tokens(z[f'{name}/x']), pos)), z[f'{name}/{case}_y'], **tolerance)


@pytest.mark.parametrize('case, planes, pos', [
  ('lang', {}, grids.grid(2, 3)),
  ('pixel', dict(layout='pixels', max_frequency=20.0, linear=True), PIXEL_GRID),
])
def test_axial_equals_rotary_embedding_torch(case, planes, pos):
  z, name = golden('rope2d'), f'ret_axial_{case}/d8_2x3'
  encoding = RopeNd(planes, 'interleaved')
  angle = pos @ planes_lib.table(encoding.planes, 2, 8)
  close(np.repeat(angle, 2, axis=-1).reshape(2, 3, 8), z[f'{name}/freqs'], **EXACT)
  x = z[f'{name}/x']
  got = turned(encoding, tokens(x.reshape(1, 2, 6, 8)), pos)
  close(tokens(got).reshape(x.shape), z[f'{name}/y'], **EXACT)


@pytest.mark.parametrize('layer', range(2))
def test_mixed_equals_timm(layer):
  z, name = golden('rope2d'), 'timm_mixed/d8_2x3'
  # The library's first axis is the column.
  theta_PKC = jnp.asarray(z[f'{name}/freqs'][::-1, layer], jnp.float64)
  sin, cos = np.split(z[f'{name}/embed'][layer], 2, axis=-1)
  x = tokens(normal(1, 1, 2, 6, 8))
  got = turned(RopeMixed(layout='interleaved'), x, grids.grid(2, 3), {'theta_LPKC': theta_PKC})
  other = np.stack([-x[..., 1::2], x[..., ::2]], axis=-1).reshape(x.shape)
  close(got, x * tokens(cos[None]) + other * tokens(sin[None]), **EXACT)


@pytest.mark.parametrize('case, layout, base', [
  ('qwen2vl/d16', 'chunks', 1e6), ('qwen3vl', 'interleaved', 5e5),
])
def test_mrope_equals_transformers(case, layout, base):
  z = golden('mrope')
  sections = tuple(z[f'{case}/sections'].tolist())
  encoding = RopeNd(dict(layout=layout, sections=sections, base=base))
  pos = z[f'{case}/position_ids_thw'].transpose(1, 2, 0)
  for row in range(2):
    close(tables(encoding, 16, pos[row])[1], z[f'{case}/cos'][row], **EXACT)
  for x in 'qk':
    if f'{case}/{x}' in z:
      got = turned(encoding, tokens(z[f'{case}/{x}']), pos)
      close(tokens(got), z[f'{case}/{x}_rot'], **EXACT)


def test_qwen2vl_images_equal_transformers():
  z, case = golden('mrope'), 'qwen2vl_vision'
  pos = z[f'{case}/position_hw']
  sin, cos = tables(RopeNd(), 16, pos)
  close(sin, z[f'{case}/sin'], **EXACT)
  close(cos, z[f'{case}/cos'], **EXACT)
  for x in 'qk':
    got = turned(RopeNd(), np.float64(z[f'{case}/{x}'])[None], pos)
    close(np.asarray(got[0]), z[f'{case}/{x}_rot'], **EXACT)


def test_mrope_of_an_image_equals_timm():
  z = golden('mrope')
  encoding = RopeNd(dict(layout='interleaved', sections=(4, 4, 4)))
  pos = np.pad(grids.grid(3, 4), [(0, 0), (1, 0)])  # time stays at 0
  close(np.concatenate(tables(encoding, 24, pos), axis=-1), z['timm_mrope/embed'], **EXACT)
  x, want = (tokens(z[f'timm_mrope/{name}'][None]) for name in 'xy')
  close(np.asarray(turned(encoding, x, pos)), want, **EXACT)


# Layouts of planes.

LAYOUTS = (
  {}, dict(base=100.0), dict(layout='pixtral'), dict(layout='dinov3'),
  dict(layout='dinov3', periods=(0.5, 90.0)), dict(layout='pixels', max_frequency=64.0),
  dict(layout='pixels', linear=True), dict(layout='interleaved'),
)
SECTIONS = {1: (7,), 2: (3, 4), 3: (2, 3, 2)}


@pytest.mark.parametrize('axes', SECTIONS)
@pytest.mark.parametrize('pairs', ['half', 'interleaved'])
def test_layouts_equal_the_oracle(axes, pairs):
  """Seven planes: not a multiple of the axes."""
  x, pos = normal(2, 2, 4, 2, 14), normal(3, 2, 4, axes)
  pos[1, 2] = NOWHERE
  own = [dict(layout=name, sections=SECTIONS[axes]) for name in ('chunks', 'interleaved')]
  if axes > 1:
    own.append(dict(layout='videorope', sections=SECTIONS[axes], base=1000.0))
  for planes in (*LAYOUTS, *own):
    want = oracle.rotate(x, pos, planes, pairs)
    np.testing.assert_array_equal(want[1, 2], x[1, 2])
    close(np.asarray(turned(RopeNd(planes, pairs), x, pos)), want, **EXACT)


def test_published_sections_divide_64_planes():
  sections = dict(sections=(24, 20, 20))
  owner = np.argmax(planes_lib.interleaved(3, 128, **sections), axis=0)
  assert [*np.bincount(owner)] == [24, 20, 20] and [*owner[-4:]] == [0, 0, 0, 0]
  owner = np.argmax(planes_lib.videorope(3, 128, sections=(16, 24, 24)), axis=0)
  assert [*owner[:4]] == [1, 2, 1, 2] and [*owner[47:49]] == [2, 0]
  assert [*np.bincount(owner)] == [16, 24, 24]
  # V-JEPA 2 rotates 2 floor(floor(64 / 3) / 2) channels by each axis.
  theta = planes_lib.axial(3, 64)
  assert [*(theta > 0).sum(axis=1)] == [10, 10, 10] and not theta[:, 30:].any()


def test_with_one_axis_it_is_rope():
  x, pos = normal(4, 2, 5, 2, 8), np.arange(10.0).reshape(2, 5, 1) ** 2
  for layout in ('half', 'interleaved'):
    rope = np.asarray(turned(Rope(layout=layout), x, pos))
    for name in ('axial', 'pixtral', 'interleaved'):
      got = turned(RopeNd(dict(layout=name), layout), x, pos)
      np.testing.assert_array_equal(np.asarray(got), rope)


@pytest.mark.parametrize('layout', ['chunks', 'interleaved', 'videorope'])
def test_mrope_of_text_is_rope(layout):
  x = normal(5, 1, 9, 2, 16)
  pos, after = grids.mrope([4, 5])
  assert after == 9
  got = turned(RopeNd(dict(layout=layout, sections=(2, 3, 3))), x, pos)
  close(np.asarray(got), np.asarray(turned(Rope(), x, np.arange(9)[:, None])), **EXACT)


@pytest.mark.parametrize('planes, message', [
  (dict(layout='axal'), r"layout is 'axal'; did you mean 'axial'\?"),
  (dict(bas=1.0), r"axial has no 'bas'; did you mean 'base'\? \(keys: base\)"),
  (dict(base=-1.0), 'base must be a positive number; it is -1.0'),
  (dict(layout='chunks'), 'chunks needs sections'),
  (dict(layout='chunks', sections=(2, 2, 4)), 'sections as positions have axes, 2; it has 3'),
  (dict(layout='chunks', sections=(2, 1)), 'must sum to 4, half of the head size; they sum to 3'),
  (dict(layout='interleaved', sections=2), 'sections must be integers of at least 0; it is 2'),
  (dict(layout='dinov3', periods=(9.0, 1.0)), 'periods must be two positive numbers'),
  (dict(layout='dinov3', periods=9.0), 'periods must be two positive numbers'),
])
def test_invalid_layouts(planes, message):
  with pytest.raises(ValueError, match=message):
    RopeNd(planes).with_dims(Dims(N=2, K=2, H=8, P=2))


# Positions.


def test_mrope_counts_as_in_qwen2vl():
  """A video of three frames with 2 x 2 cells, then five tokens of text."""
  pos, after = grids.mrope([(3, 2, 2), 5])
  text = [3, 4, 5, 6, 7]
  assert pos.T.tolist() == [
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, *text], [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, *text],
    [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, *text],
  ]
  assert after == 8
  # Qwen2.5-VL: two seconds between frames, 25 positions per second.
  pos, after = grids.mrope([(3, 2, 2), 5], interval=50)
  assert pos[:12, 0].tolist() == [0] * 4 + [50] * 4 + [100] * 4
  assert pos[12:].tolist() == [[n] * 3 for n in range(101, 106)] and after == 106
  # An image takes as many positions as its longer side, after three tokens of text.
  pos, after = grids.mrope([3, (1, 2, 4), 1])
  assert pos[3].tolist() == [3, 3, 3] and pos[10].tolist() == [3, 4, 6]
  assert pos[11].tolist() == [7, 7, 7] and after == 8


def test_timed_frames_are_images_after_text():
  pos, after = grids.mrope(grids.timed((2, 1, 3), stamp=2))
  assert pos.T.tolist() == [
    [0, 1, 2, 2, 2, 5, 6, 7, 7, 7], [0, 1, 2, 2, 2, 5, 6, 7, 7, 7], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
  ]
  assert after == 10


def test_diagonal_centers_frames():
  pos, after = grids.diagonal([2, (2, 2, 3), 1])
  assert pos.T.tolist() == [
    [0, 1, *[2] * 6, *[4] * 6, 5],
    [0, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 5],
    [0, 1, 1, 2, 3, 1, 2, 3, 3, 4, 5, 3, 4, 5, 5],
  ]
  assert after == 6
  assert grids.diagonal([(2, 1, 1)], spacing=0.5)[0][1].tolist() == [0.5] * 3


def test_coordinates_of_cells():
  assert grids.grid(2, 3).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
  close(grids.centered(2, 4)[:, 1], np.tile([-0.75, -0.25, 0.25, 0.75], 2))
  close(grids.centered(2, 4)[::4, 0], np.array([-0.5, 0.5]))
  close(grids.centered(2, 4, unit=max)[::4, 0], np.array([-0.75, -0.25]))
  close(grids.centered(2, 4, unit=min)[:4, 1], np.array([-0.5, 0.5, 1.5, 2.5]))
  close(grids.spread(3, 1)[:, 0], np.array([0, 0.5, 1]))
  close(grids.scaled((4,), (2,))[:, 0], np.array([0, 0.5, 1, 1.5]))


def test_cape_rescales_a_grid_by_one_factor():
  """Training as in DINOv3."""
  cape = [Cape(global_shift=0.5, local_shift=0.0, max_scale=2.0, axis=axis) for axis in (0, 1)]
  encoding = Chain((*cape, RopeNd(dict(layout='dinov3')))).with_dims(Dims(N=2, K=2, H=8, P=2))
  state = encoding.init_state(3, 6, True, jax.random.key(5)).sequence
  zeros = jnp.zeros((3, 6), jnp.int32)
  pos = np.tile(grids.centered(2, 3), (3, 1, 1))
  at, _ = Bound(encoding).locate(Positions(jnp.asarray(pos), zeros, zeros), state, jnp.float64)
  moved = np.asarray(at.pos)
  factor = (moved[:, 5] - moved[:, 0]) / (pos[:, 5] - pos[:, 0])
  close(moved, factor[:, None, :1] * pos + (moved - factor[:, None, :1] * pos)[:, :1, :1], 1e-6)
  assert len(np.unique(factor.round(6))) == 3 and (0.5 <= factor).all() and (factor <= 2).all()


# Learned rotations.


def first_weights(encoding, **dims):
  return encoding.with_dims(Dims(N=8, K=4, H=16, **dims)).init_weights(jax.random.key(0))


def test_mixed_directions_start_perpendicular():
  theta_LPKC = np.asarray(first_weights(RopeMixed(), P=2, L=3)['theta_LPKC'], np.float64)
  ahead, aside = np.split(theta_LPKC, 2, axis=-1)  # of each head: [L, P, K, n]
  ladder = 10.0 ** (-np.arange(4) / 4)
  close(np.linalg.norm(ahead, axis=1), np.broadcast_to(ladder, (3, 4, 4)), rtol=1e-6)
  # The second block is the first one, turned by a right angle: x to y, y to -x.
  close(aside, np.stack([-ahead[:, 1], ahead[:, 0]], axis=1), rtol=0, atol=1e-6)
  angle = np.arctan2(ahead[:, 1, :, 0], ahead[:, 0, :, 0])
  assert len(np.unique(angle.round(3))) == 12 and np.ptp(angle) > 3  # one for each layer and head
  theta_PKC = first_weights(RopeMixed(base=100.0), P=1)['theta_LPKC']
  close(np.float64(theta_PKC[0, 3]), frequencies(16, 100.0), rtol=1e-6)


def test_learned_rotations_have_no_weight_decay():
  for encoding in (RopeMixed(), Liere(), Comrope()):
    assert not any(jax.tree.leaves(is_decayed({'encoding': first_weights(encoding, P=2)})))


def test_mixed_with_axial_frequencies_is_axial():
  x, pos = normal(6, 1, 6, 2, 8), grids.grid(2, 3)
  theta_PKC = jnp.repeat(planes_lib.axial(2, 8)[:, None], 2, axis=1)
  got = turned(RopeMixed(), x, pos, {'theta_LPKC': theta_PKC})
  close(np.asarray(got), np.asarray(turned(RopeNd(), x, pos)), **EXACT)


def mixed(x, pos, theta_PKC):
  return np.asarray(turned(RopeMixed(layout='interleaved'), x, pos, {'theta_LPKC': theta_PKC}))


def test_blocks_of_two_channels_are_planes():
  """exp of [[0, u], [-u, 0]] rotates by -u."""
  x, pos = normal(7, 1, 6, 2, 8), grids.centered(2, 3)
  generator_PKCR = jnp.asarray(normal(8, 2, 2, 4, 1))
  got = turned(Liere(block=2), x, pos, {'generator_LPKCR': generator_PKCR})
  close(np.asarray(got), mixed(x, pos, -generator_PKCR[..., 0]), **EXACT)
  # Axial: the axes alternate, and each block has a learned frequency.
  own_PC = (np.arange(4) % 2 == np.arange(2)[:, None])[:, None]
  weights = {'generator_LKCR': generator_PKCR[0]}
  got = turned(Comrope(block=2, kind='ap'), x, pos, weights)
  close(np.asarray(got), mixed(x, pos, -generator_PKCR[0, ..., 0] * own_PC), **EXACT)
  weights['theta_LPC'] = jnp.asarray(normal(9, 2, 4))
  got = turned(Comrope(block=2, kind='ld'), x, pos, weights)
  close(
    np.asarray(got), mixed(x, pos, -generator_PKCR[0, ..., 0] * weights['theta_LPC'][:, None]),
    **EXACT,
  )


@pytest.mark.parametrize('kind, change', [
  (Liere(block=4), 0.1), (Comrope(block=4, kind='ld'), 0), (Comrope(block=4, kind='ap'), 0),
])
def test_only_commuting_generators_ignore_a_shift(kind, change):
  x, pos = normal(10, 1, 6, 2, 8), grids.spread(2, 3)
  weights = jax.tree.map(jnp.float64, kind.with_dims(Dims(N=2, K=2, H=8, P=2)).init_weights(
    jax.random.key(1)
  ))
  logits = lambda pos: jnp.einsum('BTNH,BSNH->BNTS', *[turned(kind, x, pos, weights)] * 2)
  moved = np.abs(logits(pos + np.array([0.3, -0.2])) - logits(pos)).max()
  assert moved > change if change else moved < 1e-12


@pytest.mark.parametrize('kind', [RopeNd(), RopeMixed(), Liere(block=4), Comrope(block=4)])
def test_tokens_without_a_place_are_not_rotated(kind):
  x, pos = normal(11, 1, 3, 2, 8), np.array([[NOWHERE, NOWHERE], [1, 2], [0, 0]])
  weights = kind.with_dims(Dims(N=2, K=2, H=8, P=2)).init_weights(jax.random.key(2))
  got = np.asarray(turned(kind, x, pos, weights))
  np.testing.assert_array_equal(got[:, ::2], x[:, ::2])
  assert np.abs(got - x)[:, 1].max() > 0.1


@pytest.mark.parametrize('size', [2, 3, 5, 8])
def test_exponential_equals_that_of_eigenvalues(size):
  entries = size * (size - 1) // 2
  for norm, tolerance in ((1e-6, 1e-15), (0.3, 1e-14), (30.0, 1e-13), (1e4, 1e-10)):
    A = np.asarray(skew(jnp.asarray(norm * normal(size, entries)), size))
    R = np.asarray(exponential(jnp.asarray(A)))
    close(R, matrices.exponential(A), rtol=0, atol=tolerance)
    close(R @ R.T, np.eye(size), rtol=0, atol=tolerance)


def test_exponential_has_a_gradient_at_zero():
  slope = jax.jacobian(lambda u: exponential(skew(u, 3)))(jnp.zeros(3))
  close(np.asarray(slope), np.asarray(jax.jacobian(lambda u: skew(u, 3))(jnp.zeros(3))), **EXACT)


def test_half_a_turn():
  R = np.asarray(exponential(skew(jnp.array([math.pi]), 2)))
  close(R, -np.eye(2), **EXACT)
