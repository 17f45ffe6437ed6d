"""Recurrent models: an LSTM by hand; packed rows, padding and decoding equal documents alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import sharding, state
from posjax.encodings import Positions
from posjax.errors import UserError
from posjax.models.pattern import Pattern
from posjax.models.recurrent import CELLS, Recurrent
from posjax.models.settings import NormSettings
from posjax.models.transformer import init
from tests.support.meshes import mesh_of
from tests.support.problem import close

pytestmark = pytest.mark.usefixtures('float64')
SIZES = dict(dim=8, heads=2, kv_heads=2, head_dim=4, hidden=16, vocabulary=11, dtype='float64')


def make(kind, layers=2, **fields):
  model = Recurrent(pattern=Pattern(()), kind=kind, layers=layers, **(SIZES | fields))
  shapes = jax.eval_shape(lambda: init(model, jax.random.key(0)))
  rng = np.random.default_rng(0)
  return model, jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), shapes)


def at(segment_ids):
  order = jnp.arange(segment_ids.shape[1])[None]
  return Positions(order[..., None], order, jnp.asarray(segment_ids, jnp.int32))


def test_an_lstm_by_hand():
  """One layer: i, f, o = sigmoid, g = tanh of W x + U h + b; c = f c + i g; h = o tanh(c)."""
  model, params = make('lstm', layers=1, norm=NormSettings(eps=1e-12))
  tokens = np.random.default_rng(1).integers(11, size=(1, 5))
  got, _ = jax.jit(model.apply)({'params': params}, tokens, at(np.zeros((1, 5), int)))
  cell = jax.tree.map(lambda x: np.asarray(x[0]), params['cells'])
  norm = lambda x, scale: x / np.sqrt(np.mean(x**2) + 1e-12) * scale
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  table, (c, h) = np.asarray(params['table_VD']), np.zeros((2, 8))
  weights = cell['step']['cell']

  def gate(name, inputs, h):
    recurrent = h @ weights[f'h{name}']['kernel'] + weights[f'h{name}']['bias']
    return inputs @ weights[f'i{name}']['kernel'] + recurrent

  for t, token in enumerate(tokens[0]):
    x = table[token] * 8**0.5
    i, f, g, o = (gate(name, norm(x, cell['norm']['scale']), h) for name in 'ifgo')
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    close(got[0, t], norm(x + h, np.asarray(params['norm']['scale'])) @ table.T, 1e-12, 1e-12)


@pytest.mark.parametrize('kind', CELLS)
def test_packed_padded_and_decoded_equal_alone(kind):
  """Two documents: alone; packed with padding on both sides; and token by token from a cache."""
  model, params = make(kind)
  rng = np.random.default_rng(1)
  one, two = rng.integers(11, size=(1, 4)), rng.integers(11, size=(1, 3))
  apply = jax.jit(model.apply)
  alone = [
    apply({'params': params}, x, at(np.zeros(x.shape, int)))[0] for x in (one, two)
  ]
  packed = np.concatenate([np.full((1, 2), 9), one, two, np.full((1, 1), 7)], axis=1)
  segments = at(np.array([[-1, -1, 0, 0, 0, 0, 1, 1, 1, -1]]))
  got, _ = apply({'params': params}, packed, segments)
  close(got[:, 2:9], jnp.concatenate(alone, axis=1), 1e-12, 1e-12)
  cache = model.init_cache(1, 10)
  for start, stop in ((0, 3), (3, 4), (4, 8), (8, 10)):
    part = jax.tree.map(lambda x, i=start, j=stop: x[:, i:j], segments)
    logits, cache = apply({'params': params}, packed[:, start:stop], part, cache)
    close(logits, got[:, start:stop], 1e-12, 1e-12)
  assert cache.length == 10


def test_eight_devices_give_the_outputs_of_one():
  model, params = make('gru')
  tokens = np.random.default_rng(1).integers(11, size=(4, 6))
  apply = jax.jit(lambda params, tokens: model.apply(
    {'params': params}, tokens, at(np.zeros((4, 6), int))
  )[0])
  want, mesh = apply(params, tokens), mesh_of(2, 2, 2)
  params = jax.tree.map(jax.device_put, params, sharding.state_sharding(params, mesh))
  with jax.set_mesh(mesh):
    close(apply(params, jax.device_put(tokens, sharding.batch_sharding(mesh))), want, 1e-12, 1e-12)


@pytest.mark.parametrize('overrides, message', [
  (('model.layer=lstm',), 'encoding.layers = rope: must be nope, because model.layer = lstm has'),
  (
    ('model.layer=gru', 'encoding.layers=nope', 'model.windows=8'),
    'model.windows and model.chunks: must be 0, because model.layer = gru has no attention',
  ),
])
def test_settings_without_a_meaning_are_refused(overrides, message):
  name = 'nope' if 'encoding.layers=nope' in overrides else 'rope'
  config, _, _ = config_lib.load(name, [f'--config.{override}' for override in overrides])
  with pytest.raises(UserError, match=f'^{message}'):
    state.build(config)
