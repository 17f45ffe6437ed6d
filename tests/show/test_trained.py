"""Attention weights that are shown of a run are those that its attention uses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import main, state
from posjax.attention import attend
from posjax.batch import Batch, Stream
from posjax.encodings.core.tokens import NOWHERE
from posjax.models import transformer
from posjax.models.pattern import with_layer
from posjax.show import __main__ as show
from posjax.show import trained, trained_picture, trained_words
from posjax.tasks.core.grids import grid

SMALL = ('dim=16', 'heads=2', 'kv_heads=1', 'head_dim=8', 'hidden=16', 'layers=1')


def model_of(name, *overrides):
  given = (*(f'model.{text}' for text in SMALL), *overrides)
  _, model = state.build(show.load(name, [f'--config.{text}' for text in given]))
  # Larger than at the start, so that weights are not uniform.
  params = jax.tree.map(lambda w: 3 * w, transformer.init(model, jax.random.key(1)))
  return model, params


def row(T, *, segments=None, V=256):
  x = np.random.default_rng(0).integers(V, size=(1, T)).astype(np.int32)
  return Batch(Stream(x, None, segments), x, np.ones((1, T), bool))


def shown(model, params, batch):
  return trained.weights_of(model, params, batch, jax.random.key(0))


def by_hand(model, params, batch):
  """Returns the weights of a single layer: attention to values that are one-hot, [N, T, S]."""
  x_BTD = params['table_VD'][batch.stream.x] * model.dim**0.5
  block = jax.tree.map(lambda w: w[0], params['layers']['block_0'])
  norm_BT1 = jnp.sqrt(jnp.mean(x_BTD**2, axis=-1, keepdims=True) + 1e-6)
  h_BTD = x_BTD / norm_BT1 * block['attention_norm']['scale']
  product = lambda name: jnp.einsum('btd,dnh->btnh', h_BTD, block['attention'][name])
  (bound,), (own,) = model.pattern.in_layers(params['encoding'], 1)
  bound = with_layer(bound, jax.tree.map(lambda w: w[0], own))
  at = batch.stream.at()
  state = bound.module.init_state(1, x_BTD.shape[1], False, None)
  features, _ = bound.features(h_BTD, at, state.layer)
  one_hot_BSKS = jnp.eye(x_BTD.shape[1])[None, :, None].repeat(model.kv_heads, axis=2)
  k = bound.key(at.attach(product('key_DKH'), one_hot_BSKS, features))
  q = bound.query(at.attach(product('query_DNH') * model.dims.scale, one_hot_BSKS, features))
  return jnp.moveaxis(attend(q, k, bound, implementation='blockwise', block=4)[0], 1, 0)


@pytest.mark.parametrize('name', ['rope', 't5+rope', 'kerple'])
def test_weights_are_those_that_attention_gives_to_one_hot_values(name):
  model, params = model_of(name)
  batch = row(12, segments=np.array([[0] * 5 + [1] * 7]))
  (layer,) = shown(model, params, batch)
  want = by_hand(model, params, batch)
  assert layer.name == 'layer 1' and want.max() > 0.5
  np.testing.assert_allclose(np.nan_to_num(layer.by_head), want, 1e-5, 1e-6)
  ends = np.array([0] * 5 + [5] * 7)
  i, j = np.indices((12, 12))
  unseen = (j > i) | (j < ends[:, None])
  np.testing.assert_array_equal(np.isnan(layer.by_head), np.broadcast_to(unseen, (2, 12, 12)))


def test_layers_are_in_order():
  """Windows of 2 and 4 keys alternate, over two scanned groups."""
  model, params = model_of('rope', 'model.layers=4', 'model.windows=2,4', 'model.remat=True')
  layers = shown(model, params, row(8))
  assert [layer.name for layer in layers] == [f'layer {i}' for i in (1, 2, 3, 4)]
  seen = [int((~np.isnan(layer.by_head[0, -1])).sum()) for layer in layers]
  assert seen == [2, 4, 2, 4]
  assert all(np.allclose(np.nansum(layer.by_head, axis=-1), 1) for layer in layers)


def test_a_stick_may_not_break_fully():
  model, params = model_of('stick_breaking')
  (layer,) = shown(model, params, row(8))
  total = np.nansum(layer.by_head, axis=-1)
  assert (total <= 1 + 1e-6).all() and (total[:, 1:] < 1).any()


def test_an_encoder_and_a_decoder_are_shown_with_the_attention_between_them():
  overrides = 'model.form=encoder_decoder', 'task.name=reverse'
  model, params = model_of('rope', *overrides)
  batch = row(5).replace(source=row(7).stream)
  shapes = {layer.name: layer.by_head.shape for layer in shown(model, params, batch)}
  assert shapes == {
    'encoder layer 1': (2, 7, 7), 'layer 1': (2, 5, 5), 'layer 1, to the source': (2, 5, 7),
  }


def test_rows_are_cut_at_padding_and_at_the_largest_block():
  segments = np.array([[0] * 90 + [-1] * 10])
  model, _ = model_of('path')
  assert trained.longest(model) == 64
  assert trained.shortened(row(100, segments=segments), 64).stream.x.shape == (1, 64)
  assert trained.shortened(row(100, segments=segments), 256).stream.x.shape == (1, 90)


def test_an_image_is_found_by_its_positions():
  """Cells may be in any order; a token without a place asks."""
  pos = np.concatenate([np.full((1, 2), NOWHERE), grid(2, 3)[::-1] * 10])[None]
  image = trained.image_of(Stream(np.arange(7, dtype=np.int32)[None], pos))
  assert image.token.tolist() == [[6, 5, 4], [3, 2, 1]]
  assert (image.query, image.cell) == (0, None)
  np.testing.assert_array_equal(image.inputs, image.token)
  placed = trained.image_of(Stream(np.arange(6, dtype=np.int32)[None], pos[:, 1:]))
  assert (placed.query, placed.cell) == (1, (1, 1))
  assert trained.image_of(Stream(np.arange(6, dtype=np.int32)[None], pos[:, :6])) is None
  assert trained.image_of(row(6).stream) is None


def test_patches_become_pixels():
  picture = np.arange(4 * 6 * 3).reshape(4, 6, 3).astype(np.float32)
  patches = picture.reshape(2, 2, 3, 2, 3).transpose(0, 2, 1, 3, 4).reshape(2, 3, 12)
  np.testing.assert_array_equal(trained.pixels(patches), picture)
  np.testing.assert_array_equal(trained.pixels(patches[..., 0::3]), picture[..., 0])
  np.testing.assert_allclose(trained.pixels(patches[..., :2]), patches[..., :2].mean(axis=-1))


def made(p_TS, image=None):
  layers = (trained.Weights('layer 1', np.asarray(p_TS)[None]),)
  return trained.Trained('run', 3, 0, False, '', 'a\nb', layers, image)


def test_numbers_of_a_text():
  run = made([[1, np.nan, np.nan], [0.5, 0.5, np.nan], [0.5, 0.25, 0.25]])
  _, numbers = trained_words.table(run)
  spread = np.mean([1, 2, 2**1.5])
  distance = np.mean([0, 0.5, 1.25])
  assert numbers == [
    'layer 1, head 1', f'{spread:.1f}', f'{distance:.1f}', f'{1.75 / 3:.3f}', f'{2 / 3:.3f}'
  ]
  assert 'step 3: 3 tokens of row 0\n\na\N{REPLACEMENT CHARACTER}b\n' in trained_words.text(run)


def test_an_image_is_drawn_with_the_weights_of_its_query():
  p_TS = np.random.default_rng(0).dirichlet(np.ones(6), size=6)
  pos = grid(2, 3)[None]
  run = made(p_TS, trained.image_of(Stream(np.arange(6, dtype=np.int32)[None], pos)))
  inputs, drawn, _ = trained_picture.figure(run).axes
  np.testing.assert_allclose(inputs.images[0].get_array(), np.arange(6).reshape(2, 3) / 5)
  np.testing.assert_array_equal(drawn.images[0].get_array(), p_TS[4].reshape(2, 3))
  _, (_, keys, distance, itself, largest, cell) = trained_words.table(run)
  away = np.array([2**0.5, 1, 2**0.5, 1, 0, 1])
  assert distance == f'{p_TS[4] @ away:.1f}' and itself == f'{p_TS[4, 4]:.3f}'
  assert largest == f'{p_TS[4].max():.3f}' and keys == f'{np.exp(-p_TS[4] @ np.log(p_TS[4])):.1f}'
  assert cell == str(divmod(int(p_TS[4].argmax()), 3))


@pytest.mark.slow
def test_a_folder_is_enough(tmp_path, capsys):
  workdir, out = tmp_path / 'run', tmp_path / 'shown'
  given = (*(f'model.{text}' for text in SMALL), 'train.steps=2', 'train.length=16',
           'train.batch=8', 'task.name=reverse_string', 'writers=()')
  assert main.main(['', '--config=rope', f'--workdir={workdir}',
                    *(f'--config.{text}' for text in given)]) == 0
  assert show.main([f'--workdir={workdir}', '--example=1', f'--out={out}']) == 0
  assert 'layer 1, head 2' in capsys.readouterr().out
  (picture,) = out.glob('*-step-2-row-1.png')
  assert picture.stat().st_size > 10_000
  assert show.main([f'--workdir={workdir}', '--example=999999', f'--out={out}']) == 2
  assert '--example=999999: the task has ' in capsys.readouterr().err
  assert show.main([f'--workdir={workdir}', '--checkpoint=7', f'--out={out}']) == 2
  assert '--checkpoint=7: not in' in capsys.readouterr().err
