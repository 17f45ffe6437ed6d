"""Absolute encodings of positions with several axes, and the resizing of their tables.

Against public libraries' numbers (see tests/golden/README.md), published formulas and exact
identities.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import encodings, transfer
from posjax.dims import Dims
from posjax.encodings import Bound, Positions
from posjax.encodings.core.declarations import represents
from posjax.encodings.core.tokens import NOWHERE
from posjax.encodings.learned import Learned
from posjax.encodings.learned_nd import LearnedNd
from posjax.encodings.parts.resize import resize
from posjax.encodings.sincos_nd import LAYOUTS, SincosNd, sincos
from posjax.encodings.sinusoidal import Sinusoidal
from posjax.models.pattern import Pattern
from posjax.models.transformer import Transformer, init
from tests.oracles import learned_nd as learned_oracle
from tests.oracles import sincos_nd as sincos_oracle
from tests.support.problem import close
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')


def grid(*sizes):
  """Returns the positions of all places, row by row: [1, T, P]."""
  return np.indices(sizes).reshape(len(sizes), -1).T[None]


def dims(width, axes):
  return Dims(N=1, K=1, H=width, D=width, P=axes)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def embed(encoding, weights, x_BTD, pos_BTP):
  zeros = jnp.zeros(pos_BTP.shape[:2], jnp.int32)
  encoding = encoding.with_dims(dims(x_BTD.shape[-1], pos_BTP.shape[-1]))
  bound = Bound(encoding, jax.tree.map(jnp.float64, weights))
  state = encoding.init_state(len(x_BTD), x_BTD.shape[1], False, None).sequence
  return bound.embed(jnp.float64(x_BTD), Positions(jnp.asarray(pos_BTP), zeros, zeros), state)[0]


def added(encoding, weights, pos_BTP, width):
  return embed(encoding, weights, np.zeros((*pos_BTP.shape[:2], width)), pos_BTP)[0]


# Sinusoids.

BY_COLUMNS = grid(3, 4)[..., ::-1]  # timm orders its patches so if the width is first


@pytest.mark.parametrize('file, case, absolute, pos', [
  ('sincos2d', 'aimv2/4x3_d16', SincosNd(), grid(4, 3)),
  ('sincos2d', 'timm/4x3_d16_rev0_il1', SincosNd(), grid(4, 3)),
  ('sincos2d', 'timm/4x3_d16_rev1_il1', SincosNd(reverse=True), BY_COLUMNS),
  ('sincos2d', 'timm/4x3_d16_rev0_il0', SincosNd(layout='sines_first'), grid(4, 3)),
  ('sincos2d', 'timm/4x3_d16_rev1_il0', SincosNd(layout='sines_first', reverse=True), BY_COLUMNS),
  ('sinusoidal_pe123d', 'pe1d/L11_d12', SincosNd(layout='interleaved'), grid(11)),
  ('sinusoidal_pe123d', 'pe1d/L11_d9', SincosNd(layout='interleaved'), grid(11)),
  ('sinusoidal_pe123d', 'pe2d/3x4_d16', SincosNd(layout='interleaved'), grid(3, 4)),
  ('sinusoidal_pe123d', 'pe3d/2x2x3_d18', SincosNd(layout='interleaved'), grid(2, 2, 3)),
])
def test_sincos_tables_of_libraries(file, case, absolute, pos):
  want = golden(file)[case]
  want = want.reshape(-1, want.shape[-1])
  close(added(absolute, {}, pos, want.shape[-1]), want, 1e-12, 1e-12)


@pytest.mark.parametrize('case, base, ends, unit, tolerance', [
  ('lang', 10_000.0, False, 1, 1e-12),
  # Places from -1 to 1, frequencies from pi to 32 pi; timm rounds them to float32.
  ('pixel', 1 / 32, True, np.pi, 3e-6),
])
def test_fourier_features_of_timm(case, base, ends, unit, tolerance):
  z = golden('sincos2d')
  pos = grid(4, 3) if case == 'lang' else grid(4, 3) / [1.5, 1] - 1
  got = sincos(unit * jnp.float64(pos), 16, base, 'half', ends, jnp.float64)
  got = got.reshape(4, 3, 2, 2, 4)
  for i, part in enumerate(('sin', 'cos')):
    want = z[f'timm_fourier_{case}/4x3_b4/{part}']
    close(got[..., i, :], want, tolerance, tolerance)


def test_sincos_of_mae_and_big_vision_by_their_formulas():
  """Width before height; in big_vision the last frequency is exactly 1 / 10,000."""
  (y, x), width = np.mgrid[:3, :4], 24
  for ends, last in ((False, 6), (True, 5)):
    omega = 10_000.0 ** -(np.arange(6) / last)
    x_angles, y_angles = (np.outer(axis.ravel(), omega) for axis in (x, y))
    want = np.hstack([f(angles) for angles in (x_angles, y_angles) for f in (np.sin, np.cos)])
    close(added(SincosNd(reverse=True, ends=ends), {}, grid(3, 4), width), want, 1e-12, 1e-12)


@pytest.mark.parametrize('layout, ends, of_a_line', [
  ('interleaved', False, 'interleaved'), ('half', False, 'half'), ('half', True, 'tensor2tensor'),
  ('sines_first', False, 'half'), ('sines_first', True, 'tensor2tensor'),
])
@pytest.mark.parametrize('reverse', [False, True])
def test_sincos_of_one_axis_is_sinusoidal(layout, ends, of_a_line, reverse):
  pos, x = np.random.default_rng(1).uniform(-50, 900, size=(2, 7, 1)), normal(2, 2, 7, 20)
  got = embed(SincosNd(50.0, layout, ends, reverse), {}, x, pos)
  np.testing.assert_array_equal(got, embed(Sinusoidal(50.0, of_a_line), {}, x, pos))


def test_layouts_are_permutations_of_the_same_channels():
  pos = np.random.default_rng(3).uniform(0, 9, size=(1, 5, 3))
  tables = [np.sort(added(SincosNd(layout=layout), {}, pos, 30)) for layout in LAYOUTS]
  for one, other in itertools.pairwise(tables):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_sincos_of_three_axes_equals_the_oracle(layout):
  args = dict(base=30.0, layout=layout, ends=True, reverse=True)
  width = 29 if layout == 'interleaved' else 30
  pos, x = np.random.default_rng(4).uniform(-9, 9, size=(2, 5, 3)), normal(5, 2, 5, width)
  pos[:, 0] = NOWHERE
  close(embed(SincosNd(**args), {}, x, pos), sincos_oracle.embed(x, pos, args, {}), 1e-12, 1e-12)


@pytest.mark.parametrize('encoding', [
  SincosNd(), SincosNd(layout='interleaved', reverse=True), LearnedNd((4, 3)),
  LearnedNd((4, 3), factorized=True),
])
def test_tokens_without_a_place_get_nothing(encoding):
  """The class token's row of zeros in MAE; its neighbors keep their rows."""
  weights = encoding.with_dims(dims(16, 2)).init_weights(jax.random.key(0))
  pos = np.concatenate([np.full((1, 2, 2), NOWHERE), grid(4, 3)], axis=1)
  x = normal(6, 1, 14, 16)
  got = embed(encoding, weights, x, pos)
  np.testing.assert_array_equal(got[:, :2], x[:, :2])
  np.testing.assert_array_equal(got[:, 2:], embed(encoding, weights, x[:, 2:], grid(4, 3)))
  gradient = jax.grad(lambda weights: jnp.sum(embed(encoding, weights, x[:, :2], pos[:, :2])))
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient(weights)))


@pytest.mark.parametrize('absolute, width, said', [
  (SincosNd(layout='whole'), 16, "layout is 'whole'; valid: interleaved, half, sines_first"),
  (SincosNd(base=0.0), 16, 'base must be positive; it is 0.0'),
  (
    SincosNd(layout='interleaved'), 7,
    'the width must be at least 8, for two wavelengths on each axis of positions; it is 7',
  ),
  (
    SincosNd(), 18,
    'the width must be a multiple of 4, for sines and cosines of each axis of positions; it is '
    "18, which only layout='interleaved' accepts",
  ),
  (LearnedNd((8, 0)), 16, 'grid, the sizes of the axes, must be positive integers; it is (8, 0)'),
  (
    LearnedNd((64,)), 16,
    'grid needs one size for each axis of positions, which have 2; it is (64,)',
  ),
])
def test_arguments_that_do_not_fit_are_refused(absolute, width, said):
  with pytest.raises(ValueError) as error:
    absolute.with_dims(dims(width, 2))
  assert str(error.value) == said


# Tables.


def test_learned_table_of_vit():
  """The table of a ViT, whose class token keeps its own row by being added to the token."""
  table = np.float64(golden('vit_interpolation')['pos'][0])
  class_token = normal(7, 6)
  pos = np.concatenate([np.full((1, 1, 2), NOWHERE), grid(6, 6)], axis=1)
  x = normal(8, 1, 37, 6)
  x[:, 0] = class_token + table[0]
  got = embed(LearnedNd((6, 6)), {'table_RD': table[1:]}, x, pos)
  x[:, 0] = class_token
  close(got, x + table, 1e-15, 1e-15)


@pytest.mark.parametrize('factorized', [False, True])
def test_learned_rows_of_three_axes_equal_the_oracle(factorized):
  args = dict(grid=(3, 4, 5), factorized=factorized)
  encoding = LearnedNd(**args)
  shapes = jax.eval_shape(encoding.with_dims(dims(8, 3)).init_weights, jax.random.key(0))
  weights = {name: normal(9, *leaf.shape) for name, leaf in shapes.items()}
  pos, x = np.random.default_rng(10).permuted(grid(3, 4, 5), axis=1)[:, ::7], normal(11, 1, 9, 8)
  pos[:, 3] = NOWHERE
  close(
    embed(encoding, weights, x, pos), learned_oracle.embed(x, pos, args, weights), 1e-15, 1e-15
  )


def test_learned_rows_of_one_axis_are_those_of_learned():
  table, x, pos = normal(12, 9, 6), normal(13, 2, 4, 6), np.array([[0, 8, 3, 3], [1, 2, 7, 6]])
  want = embed(Learned(length=9), {'table_RD': table}, x, pos[..., None])
  for factorized, name in ((False, 'table_RD'), (True, 'axis_0_RD')):
    got = embed(LearnedNd((9,), factorized), {name: table}, x, pos[..., None])
    np.testing.assert_array_equal(got, want)


def test_factorized_rows_are_a_chain_of_tables_of_one_axis():
  (chain,) = encodings.build(
    dims(6, 2), layers=('learned_row@0+learned_column@1',),
    learned_row=dict(length=5), learned_column=dict(length=4),
  )
  rows, columns, x = normal(14, 5, 6), normal(15, 4, 6), normal(16, 1, 20, 6)
  weights = {'learned@0': {'table_RD': rows}, 'learned@1': {'table_RD': columns}}
  got = embed(LearnedNd((5, 4), True), {'axis_0_RD': rows, 'axis_1_RD': columns}, x, grid(5, 4))
  close(got, embed(chain, weights, x, grid(5, 4)), 1e-15, 1e-15)


def test_limits_are_those_of_each_axis():
  """A 4 x 16 image has as many patches as an 8 x 8 one and does not fit its table."""
  limit = LearnedNd((8, 8)).limit
  assert represents(limit, (8, 8)) and represents(limit, (4, 8))
  assert not represents(limit, (4, 16)) and not represents(limit, (16, 4))
  assert LearnedNd((64,)).limit == 64 and SincosNd().limit is None


def leaves(encoding):
  model = Transformer(
    pattern=None, vocabulary=7, dim=16, layers=1, heads=2, kv_heads=2, head_dim=8, hidden=24,
    axes=len(encoding.grid),
  )
  model = model.clone(pattern=Pattern((encoding.with_dims(model.dims),)))
  return transfer.leaves(model, jax.eval_shape(lambda: init(model, jax.random.key(0))))


@pytest.mark.parametrize('factorized, old, new, taken', [
  (True, (2, 3), (4, 3), {'axis_0_RD': 'taken, the first 2 rows', 'axis_1_RD': 'taken'}),
  (False, (2, 3), (2, 3), {'table_RD': 'taken'}),
  (False, (2, 3), (4, 3), {'table_RD': 'fresh: the source has (6, 16), not (12, 16)'}),
  (False, (6,), (12,), {'table_RD': 'taken, the first 6 rows'}),
])
def test_tables_of_single_axes_begin_with_shorter_ones(factorized, old, new, taken):
  """Rows of a larger plane are not those of a smaller one, so that it starts fresh."""
  plan = transfer.plan(leaves(LearnedNd(old, factorized)), leaves(LearnedNd(new, factorized)))
  said = {str(each.leaf): str(each) for each in plan}
  for name, text in taken.items():
    assert said[f'encoding/learned_nd/{name}'] == text


# Resizing.


@pytest.mark.parametrize('case, method, antialias', [
  ('timm/8x5_bilinear_aa0', 'linear', False), ('timm/8x5_bilinear_aa1', 'linear', True),
  ('timm/8x5_bicubic_aa0', 'cubic', False), ('timm/8x5_bicubic_aa1', 'cubic', True),
  ('hf/8x5', 'cubic', False),
])
def test_resized_tables_of_libraries(case, method, antialias):
  """From 6 x 6 patches to 8 x 5: more along one axis, fewer along the other."""
  z = golden('vit_interpolation')
  table = jnp.float64(z['pos'][0, 1:]).reshape(6, 6, 6)
  got = resize(table, (8, 5), method, antialias)
  close(got.reshape(40, 6), z[case][0, 1:], 1e-12, 1e-12)


@pytest.mark.parametrize('method', ['linear', 'cubic'])
@pytest.mark.parametrize('sizes', [(9, 2, 7), (5, 4, 3), (1, 13, 6)])
def test_resizing_with_antialias_equals_jax(method, sizes):
  table = jnp.asarray(normal(17, 5, 4, 6, 2))
  want = jax.image.resize(table, (*sizes, 2), method)
  close(resize(table, sizes, method), want, 1e-12, 1e-12)


@pytest.mark.parametrize('corners', [False, True])
@pytest.mark.parametrize('antialias', [False, True])
@pytest.mark.parametrize('method', ['linear', 'cubic'])
def test_resizing_preserves_tables_constants_and_lines(method, antialias, corners):
  """But a cubic with a = -3/4 bends lines: Keys shows that only a = -1/2 keeps them."""
  how = dict(method=method, antialias=antialias, corners=corners)
  table = jnp.asarray(normal(18, 5, 16, 3))
  close(resize(table, (5, 16), **how), table, 1e-14, 1e-14)
  close(resize(jnp.ones((5, 16, 1)), (3, 41), **how), jnp.ones((3, 41, 1)), 1e-14, 1e-14)
  line = resize(jnp.arange(16.0)[:, None], (48,), **how)[:, 0]
  where = np.linspace(0, 15, 48) if corners else (np.arange(48) + 0.5) / 3 - 0.5
  inner = slice(6, -6)  # with two old rows on either side
  bent = np.abs(line - where)[inner].max()
  assert bent > 0.01 if method == 'cubic' and not antialias else bent < 1e-13


@pytest.mark.parametrize('sizes', [(7, 9), (3, 2), (5, 11)])
def test_linear_resizing_with_corners_is_interpolation_between_them(sizes):
  """As big_vision and Qwen3-VL do, along the rows, then along the columns."""
  table = normal(19, 5, 4)
  for axis, new in enumerate(sizes):
    old = table.shape[axis]
    table = np.apply_along_axis(
      lambda row, old=old, new=new: np.interp(np.linspace(0, old - 1, new), range(old), row),
      axis, table,
    )
  got = resize(jnp.asarray(normal(19, 5, 4))[..., None], sizes, 'linear', False, True)[..., 0]
  close(got, table, 1e-14, 1e-14)
