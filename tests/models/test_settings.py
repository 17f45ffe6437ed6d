"""BERT, RoFormer and T5 of a public library through the Transformer, and its other settings."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from posjax import sharding
from posjax.encodings import Positions
from posjax.encodings.learned import Learned
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.encodings.t5 import T5
from posjax.models.pattern import Pattern
from posjax.models.settings import EmbeddingSettings, HeadSettings, MlpSettings, NormSettings
from posjax.models.stack import Stack
from posjax.models.transformer import Transformer, init
from tests.support.meshes import mesh_of
from tests.support.problem import REFERENCE, close
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')
EVERY = 'norm', 'query', 'key', 'value', 'output', 'up', 'gate', 'down', 'head'


def make(encoding, kind=Transformer, **fields):
  model = kind(pattern=None, attention=FrozenDict(REFERENCE), dtype='float64', **fields)
  return model.clone(pattern=Pattern((encoding.with_dims(model.dims),)))


class Library:
  """The weights of a public library, in the layout of posjax."""

  def __init__(self, name):
    self.z = golden(name)
    self.config = json.loads(bytes(self.z['meta_json']))['config']

  def __call__(self, name, *shape):
    """Returns a weight as [inputs, outputs], or as `shape`."""
    w = np.float64(self.z[f'w:{name}']).T
    return jnp.asarray(w.reshape(shape) if shape else w)

  def norm(self, name):
    found = {'scale': self(f'{name}.weight')}
    return found | ({'bias': self(f'{name}.bias')} if f'w:{name}.bias' in self.z else {})


def stacked(layers):
  return jax.tree.map(lambda *x: jnp.stack(x), *layers)


def positions(tokens, mask=None):
  order = jnp.arange(tokens.shape[1])[None]
  mask = np.ones(tokens.shape, int) if mask is None else mask
  return Positions(order[..., None], order, jnp.int32(mask - 1))


# BERT and RoFormer.


def bert_layer(w, prefix, N, H, D, F):
  both = {}
  for ours, theirs in (('query', 'query'), ('key', 'key'), ('value', 'value')):
    letters = 'NH' if ours == 'query' else 'KH'
    both[f'{ours}_D{letters}'] = w(f'{prefix}.attention.self.{theirs}.weight', D, N, H)
    both[f'{ours}_bias_{letters}'] = w(f'{prefix}.attention.self.{theirs}.bias', N, H)
  both['output_NHD'] = w(f'{prefix}.attention.output.dense.weight', N, H, D)
  both['output_bias_D'] = w(f'{prefix}.attention.output.dense.bias')
  return {
    'attention': both,
    'attention_after_norm': w.norm(f'{prefix}.attention.output.LayerNorm'),
    'mlp': {
      'up_DF': w(f'{prefix}.intermediate.dense.weight'),
      'up_bias_F': w(f'{prefix}.intermediate.dense.bias'),
      'down_FD': w(f'{prefix}.output.dense.weight'),
      'down_bias_D': w(f'{prefix}.output.dense.bias'),
    },
    'mlp_after_norm': w.norm(f'{prefix}.output.LayerNorm'),
  }


def bert(name, encoding):
  """Returns the library's encoder for masked tokens as a posjax model, and its weights."""
  w = Library(f'model_{name}')
  config = w.config
  D, N = config['hidden_size'], config['num_attention_heads']
  model = make(
    encoding, vocabulary=config['vocab_size'], dim=D, layers=config['num_hidden_layers'], heads=N,
    kv_heads=N, head_dim=D // N, hidden=config['intermediate_size'], causal=False, biases=EVERY,
    norm=NormSettings('layernorm', eps=config['layer_norm_eps'], where=('after',)),
    mlp=MlpSettings(gated=False, activation='gelu'), head=HeadSettings(layer=True),
    embedding=EmbeddingSettings(scale=1.0, norm=True, types=config['type_vocab_size']),
  )
  sizes = N, D // N, D, config['intermediate_size']
  own = {}
  if name == 'bert':
    own['table_RD'] = w('bert.embeddings.position_embeddings.weight').T
  transform = 'cls.predictions.transform'
  return w, model, {
    'table_VD': w(f'{name}.embeddings.word_embeddings.weight').T,
    'types_RD': w(f'{name}.embeddings.token_type_embeddings.weight').T,
    'encoding': {'learned' if own else 'rope': own},
    'embedding_norm': w.norm(f'{name}.embeddings.LayerNorm'),
    'layers': {'block_0': stacked([
      bert_layer(w, f'{name}.encoder.layer.{i}', *sizes) for i in range(model.layers)
    ])},
    'transform_DC': w(f'{transform}.dense.weight'),
    'transform_bias_C': w(f'{transform}.dense.bias'),
    'transform_norm': w.norm(f'{transform}.LayerNorm'),
    'head_bias_V': w('cls.predictions.bias'),
  }


@pytest.mark.parametrize('name, positional, atol', [
  ('bert', Learned(length=40), 1e-10),
  ('roformer', Rope(layout='interleaved'), 3e-6),  # the library's table is rounded to float32
])
def test_masked_language_models(name, positional, atol):
  w, model, params = bert(name, positional)
  shapes = jax.eval_shape(lambda: init(model, jax.random.key(0)))
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
  z = w.z
  at = positions(z['input_ids'], z['attention_mask'])
  logits, _ = jax.jit(model.apply)(
    {'params': params}, z['input_ids'], at, types=z['token_type_ids']
  )
  seen = z['attention_mask'] == 1
  assert 0 < seen.sum() < seen.size
  close(logits[seen], z['logits'][seen], atol, atol)


def test_bert_on_six_devices():
  """Rows over two devices, heads and the MLP over three."""
  w, model, params = bert('bert', Learned(length=40))
  z, mesh = w.z, mesh_of(data=2, tensor=3)
  at = positions(z['input_ids'], z['attention_mask'])
  params = jax.tree.map(jax.device_put, params, sharding.state_sharding(params, mesh))
  with jax.set_mesh(mesh):
    logits, _ = jax.jit(model.apply)(
      {'params': params}, z['input_ids'], at, types=z['token_type_ids']
    )
  seen = z['attention_mask'] == 1
  close(logits[seen], z['logits'][seen], 1e-10, 1e-10)


# T5.


def t5_layer(w, prefix, N, H, D):
  def attention(at):
    name = f'{prefix}.layer.{at}'
    return {
      'query_DNH': w(f'{name}.q.weight', D, N, H), 'key_DKH': w(f'{name}.k.weight', D, N, H),
      'value_DKH': w(f'{name}.v.weight', D, N, H), 'output_NHD': w(f'{name}.o.weight', N, H, D),
    }

  last = 2 if f'w:{prefix}.layer.2.layer_norm.weight' in w.z else 1
  mlp = f'{prefix}.layer.{last}.DenseReluDense'
  layer = {
    'attention_norm': w.norm(f'{prefix}.layer.0.layer_norm'),
    'attention': attention('0.SelfAttention'),
    'mlp_norm': w.norm(f'{prefix}.layer.{last}.layer_norm'),
    'mlp': {'up_DF': w(f'{mlp}.wi.weight'), 'down_FD': w(f'{mlp}.wo.weight')},
  }
  if last == 2:
    layer |= {
      'cross_norm': w.norm(f'{prefix}.layer.1.layer_norm'),
      'cross': attention('1.EncDecAttention'),
    }
  return layer


def t5_stack(w, name, layers, sizes):
  bias = f'{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight'
  return {
    'encoding': {'t5': {'table_RN': w(bias).T}},
    'layers': {'block_0': stacked([t5_layer(w, f'{name}.block.{i}', *sizes)
                                   for i in range(layers)])},
    'norm': w.norm(f'{name}.final_layer_norm'),
  }


@pytest.fixture(scope='module')
def t5():
  """Returns the library's values, posjax's encoder-decoder, and its weights."""
  with jax.enable_x64(True):
    w = Library('model_t5')
    config = w.config
    D, N, H = config['d_model'], config['num_heads'], config['d_kv']
    encoding = T5(
      buckets=config['relative_attention_num_buckets'],
      max_distance=config['relative_attention_max_distance'],
    )
    fields = dict(
      dim=D, layers=config['num_layers'], heads=N, kv_heads=N, head_dim=H, hidden=config['d_ff'],
      mlp=MlpSettings(gated=False, activation='relu'), embedding=EmbeddingSettings(scale=1.0),
      query_scale=1.0,
    )
    encoder = make(encoding, Stack, causal=False, **fields)
    model = make(
      encoding, vocabulary=config['vocab_size'], head=HeadSettings(scale=D**-0.5), **fields
    )
    cross = Pattern((Nope().with_dims(model.dims),))
    model = model.clone(encoder=encoder, cross=cross)
    stack = lambda name: t5_stack(w, name, model.layers, (N, H, D))
    params = {
      'table_VD': w('shared.weight').T, **stack('decoder'), 'encoder': stack('encoder'),
      'cross': {'nope': {}},
    }
    return w.z, model, params


def test_t5(t5):
  """The encoder has buckets on both sides because it sees later tokens, the decoder on one."""
  z, model, params = t5
  shapes = jax.eval_shape(lambda: init(model, jax.random.key(0)))
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
  source = z['input_ids'], positions(z['input_ids'], z['attention_mask'])
  target = z['decoder_input_ids']
  logits, _ = jax.jit(model.apply)({'params': params}, target, positions(target), source=source)
  close(logits, z['logits'], 1e-10, 1e-10)


def test_t5_decodes_from_its_cache(t5):
  """Only the first call reads the source; one call has two tokens, the others one."""
  z, model, params = t5
  source = z['input_ids'], positions(z['input_ids'], z['attention_mask'])
  target = z['decoder_input_ids']
  at = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *x.shape[1:])), positions(target))
  cut = lambda start, stop: (
    target[:, start:stop], jax.tree.map(lambda x: x[:, start:stop], at)
  )
  traces = []

  @jax.jit
  def step(tokens, at, cache):
    traces.append(tokens.shape)
    return model.apply({'params': params}, tokens, at, cache)

  first = jax.jit(lambda tokens, at, source: model.apply(
    {'params': params}, tokens, at, model.init_cache(2, 8), source=source
  ))
  logits, cache = first(*cut(0, 2), source)
  close(logits, z['logits'][:, :2], 1e-10, 1e-10)
  for i in range(2, target.shape[1]):
    logits, cache = step(*cut(i, i + 1), cache)
    close(logits, z['logits'][:, i : i + 1], 1e-10, 1e-10)
  assert traces == [(2, 1)]
