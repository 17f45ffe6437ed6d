"""The Transformer: a public library's Llama, patterns of layers, weights, dropout, dtypes."""

import functools
import json
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.core import FrozenDict

from posjax import dims
from posjax.dims import letters
from posjax.encodings import Bound, Positions
from posjax.encodings.fox import Fox
from posjax.encodings.learned import Learned
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.encodings.shaw import Shaw
from posjax.models.block import Block, LayerCache
from posjax.models.pattern import Pattern
from posjax.models.settings import HeadSettings, NormSettings
from posjax.models.transformer import Transformer, init
from posjax.optimizer import is_decayed
from tests.support.problem import FIVES, REFERENCE, close
from tests.support.stored import golden

ROPE = (Rope(),)
UNTIED, LAYERNORM = HeadSettings(tied=False), NormSettings('layernorm')
SIZES = dict(vocabulary=17, dim=32, heads=4, kv_heads=2, head_dim=8, hidden=48)


def make(encodings=ROPE, windows=(0,), chunks=(0,), **fields):
  attention = FrozenDict(fields.pop('attention', REFERENCE))
  model = Transformer(pattern=None, attention=attention, **(SIZES | fields))
  encodings = tuple(encoding.with_dims(model.dims) for encoding in encodings)
  return model.clone(pattern=Pattern(encodings, windows, chunks=chunks))


def text(batch=2, length=12, vocabulary=17, seed=0):
  """Returns random tokens and their positions, with one document per row."""
  rng = np.random.default_rng(seed)
  order = jnp.arange(length, dtype=jnp.int32)[None].repeat(batch, 0)
  at = Positions(order[..., None], order, jnp.zeros_like(order))
  return jnp.asarray(rng.integers(vocabulary, size=(batch, length))), at


def draw_params(model, seed=1, stddev=0.3):
  """Returns random weights; no norm keeps a scale of 1."""
  shapes = jax.eval_shape(functools.partial(init, model), jax.random.key(0))
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: jnp.asarray(rng.normal(scale=stddev, size=x.shape)), shapes)


def take(at, start, stop):
  return jax.tree.map(lambda x: x[:, start:stop], at)


# A Llama.


@pytest.fixture(scope='module')
def llama():
  """Returns posjax's model and the library's weights."""
  z = golden('model_llama')
  config = json.loads(bytes(z['meta_json']))['config']
  model = make(
    vocabulary=config['vocab_size'], dim=config['hidden_size'], layers=config['num_hidden_layers'],
    heads=config['num_attention_heads'], kv_heads=config['num_key_value_heads'],
    head_dim=config['head_dim'], hidden=config['intermediate_size'], head=UNTIED, dtype='float64',
  )
  return model, load_llama(z, model, config)


def load_llama(z, model, config):
  """Returns the library's weights in posjax's tree, float64.

  Norms of posjax have epsilon 1e-6, the library's 1e-5. A stream scaled by c is normalized as if
  epsilon were 1e-6 / c^2, so all weights that write to the stream are scaled by c, c^2 = 0.1.
  """
  c = (1e-6 / config['rms_norm_eps']) ** 0.5
  weight = lambda name: np.float64(z[f'w:{name}.weight']).T

  def layers(name, *shape):
    every = [weight(f'model.layers.{i}.{name}') for i in range(model.layers)]
    return np.stack(every).reshape(model.layers, *shape)

  D, N, K, H, F = model.dim, model.heads, model.kv_heads, model.head_dim, model.hidden
  block = {
    'attention_norm': {'scale': layers('input_layernorm', D)},
    'attention': {
      'query_DNH': layers('self_attn.q_proj', D, N, H),
      'key_DKH': layers('self_attn.k_proj', D, K, H),
      'value_DKH': layers('self_attn.v_proj', D, K, H),
      'output_NHD': layers('self_attn.o_proj', N, H, D) * c,
    },
    'mlp_norm': {'scale': layers('post_attention_layernorm', D)},
    'mlp': {
      'up_DF': layers('mlp.up_proj', D, F),
      'gate_DF': layers('mlp.gate_proj', D, F),
      'down_FD': layers('mlp.down_proj', F, D) * c,
    },
  }
  return {
    # posjax multiplies embeddings by sqrt(D).
    'table_VD': weight('model.embed_tokens').T * c / D**0.5,
    'encoding': {'rope': {}},
    'layers': {'block_0': block},
    'norm': {'scale': weight('model.norm')},
    'head_DV': weight('lm_head'),
  }


@pytest.mark.usefixtures('float64')
def test_llama_logits(llama):
  z, (model, params) = golden('model_llama'), llama
  _, at = text(2, 9)
  full, _ = jax.jit(model.apply)({'params': params}, z['input_ids'], at)
  close(full, z['logits'], rtol=1e-10, atol=1e-10)
  close(jax.tree.map(jnp.shape, params), jax.tree.map(jnp.shape, draw_params(model)))


@pytest.mark.usefixtures('float64')
def test_llama_logits_of_left_padded_rows(llama):
  z, (model, params) = golden('model_llama'), llama
  mask = z['leftpad_mask']
  _, at = text(2, 9)
  # Positions begin at the first token, the library's at the padding; RoPE is shift invariant.
  pos = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
  at = at.replace(pos=jnp.asarray(pos[..., None]), segment_ids=jnp.int32(mask - 1))
  got, _ = jax.jit(model.apply)({'params': params}, z['input_ids'], at)
  assert 0 < mask.sum() < mask.size
  close(got[mask == 1], z['leftpad_logits'][mask == 1], rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures('float64')
def test_llama_logits_of_the_last_three_tokens_from_a_cache(llama):
  z, (model, params) = golden('model_llama'), llama
  tokens_BT, (_, at) = z['input_ids'], text(2, 9)
  apply, cache = jax.jit(model.apply), model.init_cache(2, 11)
  _, cache = apply({'params': params}, tokens_BT[:, :6], take(at, 0, 6), cache)
  got, cache = apply({'params': params}, tokens_BT[:, 6:], take(at, 6, 9), cache)
  close(got, z['cached_logits_last3'], rtol=1e-10, atol=1e-10)
  assert cache.length == 9


# Patterns of layers.


def stack_by_hand(model, params, tokens_BT, at):
  """Runs layer by layer, each with its own encoding, window, chunks and slice of the weights."""
  x_BTD = params['table_VD'][tokens_BT] * model.dim**0.5
  encodings, windows, chunks = (
    getattr(model.pattern, part) for part in ('encodings', 'windows', 'chunks')
  )
  period = len(params['layers'])
  for layer in range(model.layers):
    encoding = encodings[layer % len(encodings)]
    group, place = divmod(layer, period)
    weights = jax.tree.map(operator.itemgetter(group), params['layers'][f'block_{place}'])
    block = Block(
      model.dims, depth=model.layers, dtype=model.dtype, norm=model.norm, dropout=0.0, train=False,
      mlp=model.mlp, biases=model.biases, causal=True, window=windows[layer % len(windows)],
      attention=REFERENCE,
    )
    # A weight whose letters begin with L has a row per layer of its encoding, in order.
    row = [encodings[i % len(encodings)] for i in range(layer)].count(encoding)
    bound = Bound(encoding, {
      name: w[row] if letters(name).startswith('L') else w
      for name, w in params['encoding'].get(type(encoding).__name__.lower(), {}).items()
    })
    memory = LayerCache(None, encoding.init_state(*tokens_BT.shape, False, None).layer)
    # With one document, chunks can be expressed as segments.
    chunk = chunks[layer % len(chunks)] or tokens_BT.shape[1]
    chunked = at.replace(segment_ids=jnp.int32([[t // chunk for t in range(tokens_BT.shape[1])]]))
    x_BTD, _ = block.apply({'params': weights}, x_BTD, memory, None, chunked, bound)
  norm = nn.RMSNorm(epsilon=1e-6, dtype=model.dtype)
  return norm.apply({'params': params['norm']}, x_BTD) @ params['table_VD'].T


PATTERNS = {
  'windows in three layers': ((Rope(), Rope(), Nope()), (4, 3, 0)),
  'one window for three encodings': ((Rope(), Rope(), Nope()), (4,)),
  'one encoding for three windows': ((Rope(),), (2, 0, 5)),
  'chunks in two of three layers': ((Rope(),), (0, 3, 0), (4, 5, 0)),
  'weights of their own': ((Fox(), Rope(), Fox()), (0, 0, 4)),
  'one encoding with weights of their own': ((Shaw(clip=4),), (0,)),
}


@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize('pattern', PATTERNS.values(), ids=PATTERNS)
def test_pattern_equals_stacking_by_hand(pattern):
  model = make(*pattern, layers=6, dtype='float64')
  params, (tokens_BT, at) = draw_params(model), text()
  got, _ = jax.jit(model.apply)({'params': params}, tokens_BT, at)
  close(got, jax.jit(functools.partial(stack_by_hand, model))(params, tokens_BT, at))


@pytest.mark.slow
@pytest.mark.usefixtures('float64')
@pytest.mark.parametrize('name', ['windows in three layers', 'chunks in two of three layers'])
def test_pattern_decoding_equals_the_forward_pass(name):
  """Each layer of the pattern, and each group of layers, has its own key cache."""
  pattern = PATTERNS[name]
  model = make(*pattern, layers=6, dtype='float64')
  params, (tokens_BT, at) = draw_params(model), text()
  want, _ = jax.jit(model.apply)({'params': params}, tokens_BT, at)
  apply = jax.jit(make(*pattern, layers=6, dtype='float64', attention=FIVES).apply)
  cache, got = model.init_cache(2, 13), []
  for t in range(0, 12, 2):
    logits, cache = apply({'params': params}, tokens_BT[:, t : t + 2], take(at, t, t + 2), cache)
    got.append(logits)
  close(jnp.concatenate(got, axis=1), want)
  assert apply._cache_size() == 1


@pytest.mark.usefixtures('float64')
def test_two_settings_of_one_encoding_in_a_pattern():
  model = make((Rope(base=100.0), Rope()), layers=2, dtype='float64')
  params, (tokens_BT, at) = draw_params(model), text()
  got, _ = jax.jit(model.apply)({'params': params}, tokens_BT, at)
  close(got, jax.jit(functools.partial(stack_by_hand, model))(params, tokens_BT, at))
  two = make((Learned(length=64), Learned(length=32), Learned(length=64)), layers=3)
  tables = jax.eval_shape(functools.partial(init, two), jax.random.key(0))['encoding']
  assert {name: x['table_RD'].shape for name, x in tables.items()} == {
    'learned': (64, 32), 'learned_2': (32, 32)
  }


# Weights and dtypes.


@pytest.mark.usefixtures('float64')
def test_remat_keeps_values_and_gradients_and_saves_memory():
  tokens_BT, at = text()
  r_BTV = jnp.asarray(np.random.default_rng(2).normal(size=(2, 12, 17)))
  params, results, planned = draw_params(make(layers=8)), [], []
  for remat in (True, False):
    model = make(layers=8, dtype='float64', remat=remat)
    loss = lambda p, model=model: jnp.sum(model.apply({'params': p}, tokens_BT, at)[0] * r_BTV)
    compiled = jax.jit(jax.value_and_grad(loss)).lower(params).compile()
    results.append(compiled(params))
    planned.append(compiled.memory_analysis().temp_size_in_bytes)
  close(*results, rtol=1e-12, atol=1e-12)
  assert planned[0] < 0.7 * planned[1]


NAMES = {
  'table_VD', 'head_DV', 'table_RD', 'query_DNH', 'key_DKH', 'value_DKH', 'output_NHD', 'up_DF',
  'gate_DF', 'down_FD', 'scale',
}


def test_names_of_weights_end_in_the_letters_of_their_axes():
  sizes = dict(D=32, N=4, K=2, H=8, F=48, V=17, R=64)
  model = make((Learned(length=64), *ROPE), layers=6, head=UNTIED, dtype='bfloat16')
  params = jax.eval_shape(functools.partial(init, model), jax.random.key(0))
  seen = set()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = path[-1].key
    shape = tuple(sizes[letter] for letter in dims.letters(name)) if name != 'scale' else (32,)
    # Three groups of the pattern's two layers.
    assert leaf.shape == ((3,) if path[0].key == 'layers' else ()) + shape, path
    assert leaf.dtype == jnp.float32
    seen.add(name)
  assert seen == NAMES
  assert set(params) == {'table_VD', 'head_DV', 'encoding', 'layers', 'norm'}
  assert set(params['layers']) == {'block_0', 'block_1'}
  # Only matrices outside the encoding are decayed.
  decayed = jax.tree_util.tree_leaves_with_path(is_decayed(params))
  assert {path[-1].key for path, yes in decayed if yes} == NAMES - {'table_RD', 'scale'}
  assert {path[-1].key for path, yes in decayed if not yes} == {'table_RD', 'scale'}
  assert params['encoding']['learned'].keys() == {'table_RD'} and params['encoding']['rope'] == {}


def test_initial_weights_have_their_variance_and_differ_between_layers():
  params = init(make((Rope(), Nope()), layers=6), jax.random.key(0))
  # 1 / fan-in; for weights that write to the stream, 1 / (2 depth) of that.
  variance = {
    'query_DNH': 1 / 32, 'key_DKH': 1 / 32, 'value_DKH': 1 / 32, 'output_NHD': 1 / 32 / 12,
    'up_DF': 1 / 32, 'gate_DF': 1 / 32, 'down_FD': 1 / 48 / 12,
  }
  for name, expected in variance.items():
    part = 'mlp' if 'F' in name else 'attention'
    layers = np.concatenate([params['layers'][f'block_{i}'][part][name] for i in range(2)])
    layers = layers.reshape(6, -1)
    n = layers.shape[1]
    # Five standard errors of a variance and of a correlation.
    np.testing.assert_allclose(layers.var(axis=1), expected, rtol=5 * (2 / n) ** 0.5)
    assert np.abs(np.corrcoef(layers) - np.eye(6)).max() < 5 / n**0.5
  np.testing.assert_allclose(np.var(params['table_VD']), 1 / 32, rtol=5 * (2 / (17 * 32)) ** 0.5)


@pytest.mark.usefixtures('float64')
def test_dropout_of_embeddings_keeps_their_mean():
  """With blocks that add zero and the identity as head, logits equal the embeddings."""
  model = make(layers=2, dropout=0.25, vocabulary=32, head=UNTIED, dtype='float64')
  tokens_BT, at = text(batch=32, vocabulary=32)
  params = draw_params(model) | dict(head_DV=jnp.eye(32))
  silent = lambda path, x: 0 * x if path[-1].key in ('output_NHD', 'down_FD') else x
  params = jax.tree_util.tree_map_with_path(silent, params)
  want, _ = jax.jit(model.apply)({'params': params}, tokens_BT, at)
  train = jax.jit(functools.partial(model.apply, train=True))
  got, _ = train({'params': params}, tokens_BT, at, rngs={'dropout': jax.random.key(7)})
  kept = got != 0
  assert (want != 0).all() and abs(kept.mean() - 0.75) < 5 * (0.75 * 0.25 / kept.size) ** 0.5
  # The norm cancels the factor, and scales the kept channels of a token by one number.
  ratio = jnp.where(kept, got / want, 0).max(axis=-1, keepdims=True)
  close(got, jnp.where(kept, want * ratio, 0), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_bfloat16_computes_near_float32():
  tokens_BT, at = text()
  params = init(make(layers=2), jax.random.key(0))

  @jax.jit
  def solve(params):
    def loss(params, dtype):
      logits, _ = make(layers=2, dtype=dtype).apply({'params': params}, tokens_BT, at)
      return jnp.sum(jnp.sin(logits)), logits

    return jax.grad(loss, has_aux=True)(params, 'bfloat16'), loss(params, 'float32')[1]

  (gradient, got), want = solve(params)
  assert {x.dtype for x in jax.tree.leaves((got, gradient))} == {np.dtype('float32')}
  # Each product has a relative rounding error of 2^-9, so not everything ran in float32.
  assert 2**-11 < np.abs(got - want).max() / np.abs(want).max() < 2**-6


@pytest.mark.usefixtures('float64')
def test_layers_draw_independent_dropout_masks():
  """Two layers add the same number to all channels; dropout keeps none, one or both."""
  sizes = dict(layers=2, dropout=0.25, head=UNTIED, norm=LAYERNORM, dim=256, vocabulary=256)
  model, (tokens_BT, at) = make(**sizes, dtype='float64'), text(vocabulary=256)
  silent = ('table_VD', 'output_NHD', 'scale')  # and normalized streams equal the bias, 1
  value = lambda path, x: np.full(x.shape, float(path[-1].key not in silent))
  params = jax.tree_util.tree_map_with_path(value, draw_params(model))
  params |= {'norm': {'scale': np.ones(256), 'bias': np.zeros(256)}, 'head_DV': np.eye(256)}
  train = jax.jit(functools.partial(model.apply, train=True))
  got, _ = train({'params': params}, tokens_BT, at, rngs={'dropout': jax.random.key(3)})
  # The last norm shifts and scales a token's channels alike; some keep none, some both.
  low, high = (x(got, axis=-1, keepdims=True) for x in (np.min, np.max))
  left = np.asarray(2 * (got - low) / (high - low))
  close(left, np.round(left), rtol=1e-9, atol=1e-9)
  for number, share in enumerate([1 / 16, 6 / 16, 9 / 16]):
    found = np.mean(np.round(left) == number)
    assert abs(found - share) < 5 * (share * (1 - share) / left.size) ** 0.5
