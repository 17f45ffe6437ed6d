"""Encoder-decoders: cached decoding, padding, packing and sharding change no output."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from posjax import config as config_lib
from posjax import sharding, state
from posjax.encodings import Positions
from posjax.encodings.fox import Fox
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.encodings.shaw import Shaw
from posjax.encodings.sinusoidal import Sinusoidal
from posjax.encodings.t5 import T5
from posjax.encodings.transformer_xl import TransformerXl
from posjax.errors import UserError
from posjax.models.pattern import Pattern
from posjax.models.stack import Stack
from posjax.models.transformer import Transformer, init
from tests.support.meshes import mesh_of
from tests.support.problem import REFERENCE, close

pytestmark = pytest.mark.usefixtures('float64')
SIZES = dict(
  dim=16, layers=2, heads=2, kv_heads=2, head_dim=8, hidden=24, dtype='float64',
  attention=FrozenDict(REFERENCE),
)
T5_SMALL = T5(buckets=8, max_distance=10)
# Encodings of decoder, encoder, and of the attention between them.
PARTS = {
  'rope': (Rope(), Rope(), Nope()),
  't5': (T5_SMALL, T5_SMALL, T5_SMALL),
  'shaw': (Shaw(clip=3), Shaw(clip=3), Nope()),
  'transformer_xl': (TransformerXl(), TransformerXl(), Rope()),
  'sinusoidal': (Sinusoidal(), Sinusoidal(), Nope()),
  'fox': (Fox(), Rope(), Nope()),
}

FAST = 'rope', 't5'


def make(decoder, encoder, cross):
  """Returns an encoder-decoder and random weights."""
  model = Transformer(pattern=None, vocabulary=13, **SIZES)
  side = Stack(pattern=None, causal=False, **SIZES)
  pattern = lambda encoding, dims: Pattern((encoding.with_dims(dims),))
  both_ways = dataclasses.replace(model.dims, causal=False)
  model = model.clone(
    pattern=pattern(decoder, model.dims), encoder=side.clone(pattern=pattern(encoder, side.dims)),
    cross=pattern(cross, both_ways),
  )
  shapes = jax.eval_shape(lambda: init(model, jax.random.key(0)))
  rng = np.random.default_rng(1)
  return model, jax.tree.map(lambda x: jnp.asarray(rng.normal(scale=0.4, size=x.shape)), shapes)


def row(segments, pos=None):
  """Returns the `Positions` of rows with these segments; positions count within a segment."""
  segments = np.atleast_2d(segments)
  order = np.broadcast_to(np.arange(segments.shape[1]), segments.shape)
  counted = [[sum(x == s for x in own[:i]) for i, s in enumerate(own)] for own in segments.tolist()]
  return Positions(
    jnp.asarray(counted)[..., None], jnp.asarray(order), jnp.asarray(segments, jnp.int32)
  )


def ids(*shape):
  return np.random.default_rng(2).integers(13, size=shape)


@pytest.mark.parametrize(
  'name', [pytest.param(name, marks=[pytest.mark.slow] * (name not in FAST)) for name in PARTS]
)
def test_cached_packed_and_padded_equal_the_forward_pass_alone(name):
  """Two pairs: alone; packed into one row; the source padded on both sides; decoded from a cache
  that reads the source once, with a prompt padded on the left, and traces one step once."""
  model, params = make(*PARTS[name])
  sources, targets, traces = ids(2, 5), ids(2, 6), []

  @jax.jit
  def forward(x, at, source, source_at):
    return model.apply({'params': params}, x, at, source=(source, source_at))[0]

  @jax.jit
  def step(x, at, cache):
    traces.append(x.shape)
    return model.apply({'params': params}, x, at, cache)

  zeros = lambda n: np.zeros((2, n), int)
  want = forward(targets, row(zeros(6)), sources, row(zeros(5)))

  packed = lambda x, n: (x.reshape(1, -1), row(np.repeat([0, 1], n)))
  got = forward(*packed(targets, 6), *packed(sources, 5))
  close(got.reshape(want.shape), want, 1e-12, 1e-12)

  padded = np.pad(sources, [(0, 0), (2, 1)], constant_values=7)
  at = row(np.pad(zeros(5), [(0, 0), (2, 1)], constant_values=-1))
  close(forward(targets, row(zeros(6)), padded, at), want, 1e-12, 1e-12)

  prompt = np.pad(targets[:, :2], [(0, 0), (3, 0)])
  at = row(np.concatenate([np.full((2, 3), -1), zeros(6)], axis=1))
  cut = lambda i, j: jax.tree.map(lambda x: x[:, i:j], at)
  cache = model.init_cache(2, 16)
  logits, cache = jax.jit(lambda x, at, cache, source: model.apply(
    {'params': params}, x, at, cache, source=source
  ))(prompt, cut(0, 5), cache, (sources, row(zeros(5))))
  close(logits[:, 3:], want[:, :2], 1e-12, 1e-12)
  for i in range(2, 6):
    logits, cache = step(targets[:, i : i + 1], cut(3 + i, 4 + i), cache)
    close(logits[:, 0], want[:, i], 1e-12, 1e-12)
  assert traces == [(2, 1)]


def test_a_target_sees_all_of_its_own_source_and_nothing_else():
  """Gradients of each output with respect to each source token, for two packed pairs."""
  model, params = make(*PARTS['rope'])
  targets, sources = ids(1, 4), ids(1, 6)
  at, source_at = row([0, 0, 1, 1]), row([0, 0, 0, 1, 1, -1])

  def outputs(shift_SD):
    """Adds a vector to each embedded source token."""
    moved = params | {'table_VD': jnp.concatenate([params['table_VD'], shift_SD])}
    large = model.clone(vocabulary=13 + 6)
    own = jnp.arange(13, 19)[None]
    y, _ = large.apply({'params': moved}, targets, at, source=(own, source_at))
    return jnp.sum(y[0, :, :13], axis=-1)

  grads = jax.jit(jax.jacobian(outputs))(params['table_VD'][sources[0]])
  seen = np.abs(np.asarray(grads)).sum(-1) > 0
  np.testing.assert_array_equal(seen, [[1, 1, 1, 0, 0, 0]] * 2 + [[0, 0, 0, 1, 1, 0]] * 2)


@pytest.mark.parametrize('name', ['rope', pytest.param('t5', marks=pytest.mark.slow)])
def test_eight_devices_give_the_outputs_and_gradients_of_one(name):
  model, params = make(*PARTS[name])
  targets, sources = ids(4, 6), ids(4, 5)
  at, source_at = row(np.zeros((4, 6), int)), row(np.zeros((4, 5), int))

  @jax.jit
  def run(params, targets, sources):
    def loss(params):
      y, _ = model.apply({'params': params}, targets, at, source=(sources, source_at))
      return jnp.sum(jnp.sin(y)), y

    return jax.value_and_grad(loss, has_aux=True)(params)

  want = run(params, targets, sources)
  mesh = mesh_of(2, 2, 2)
  params = jax.tree.map(jax.device_put, params, sharding.state_sharding(params, mesh))
  rows = (jax.device_put(x, sharding.batch_sharding(mesh)) for x in (targets, sources))
  with jax.set_mesh(mesh):
    close(run(params, *rows), want, 1e-11, 1e-11)


@pytest.mark.parametrize('cross, message', [
  ('fox', 'model.cross = fox: it is causal only, but all tokens of a source are visible'),
  ('sinusoidal', 'model.cross = sinusoidal: its hook embed runs only within a stack'),
  ('randomize+rope', r'model.cross = randomize\+rope: its hook positions runs only within a stack'),
  ('rop', "encoding.layers: there is no encoding 'rop'"),
])
def test_encodings_that_attention_to_a_source_cannot_have(cross, message):
  flags = ['--config.task.name=copy', '--config.model.form=encoder_decoder']
  config, _, _ = config_lib.load('rope', [*flags, f'--config.model.cross={cross}'])
  with pytest.raises(UserError, match=f'^{message}'):
    state.build(config)


def test_encoder_and_attention_to_it_have_the_encodings_of_the_config():
  flags = [
    '--config.task.name=copy', '--config.model.form=encoder_decoder', '--config.model.cross=t5',
    '--config.model.encoder=t5_encoder', '--config.encoding.t5_encoder.buckets=8',
  ]
  config, _, _ = config_lib.load('rope', flags)
  _, model = state.build(config)
  encodings = [[*pattern.by_name.values()] for pattern in model.patterns]
  decoder, encoder, cross = (own for (own,) in encodings)
  assert isinstance(decoder, Rope) and decoder.dims.causal
  assert encoder.buckets == 8 and not encoder.dims.causal
  assert cross.buckets == 32 and not cross.dims.causal
  same, _, _ = config_lib.load('rope', flags[:2])
  assert [*map(type, state.build(same)[1].encoder.pattern.encodings)] == [Rope]
