"""Causal models of transformers, in NumPy around the encodings and attention of posjax.

In float64. Attention runs as with a cache: half of the queries, then the others over all keys. The
README of tests/golden describes each file.
"""

import functools
import json
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.attention import attend
from posjax.dims import Dims
from posjax.encodings import Bound
from posjax.encodings.alibi import Alibi
from posjax.encodings.learned import Learned
from posjax.encodings.nope import Nope
from posjax.encodings.rope import Rope
from posjax.hub.rope_parameters import read
from tests.encodings.test_oracles import close, softmax
from tests.encodings.test_scaling import at_of
from tests.support.stored import golden

pytestmark = [
  pytest.mark.usefixtures('float64'),
  pytest.mark.filterwarnings('ignore:scaling. .* is close to linear'),
]

TIGHT = dict(rtol=1e-9, atol=1e-11)


class Weights(NamedTuple):
  """A model's parameters by the library's names, in float64, and layers that all models share."""

  arrays: dict
  prefix: str = 'w:'
  eps: float = 1e-5

  def under(self, name):
    return self._replace(prefix=f'{self.prefix}{name}.')

  def __contains__(self, name):
    return self.prefix + name in self.arrays

  def __call__(self, name):
    return np.float64(self.arrays[self.prefix + name])

  def dense(self, name, x):
    return x @ self(f'{name}.weight').T + self._bias(name)

  def layer_norm(self, name, x):
    x = x - x.mean(-1, keepdims=True)
    return self.rms_norm(name, x) + self._bias(name)

  def rms_norm(self, name, x):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + self.eps) * self(f'{name}.weight')

  def _bias(self, name):
    return self(f'{name}.bias') if f'{name}.bias' in self else 0


def heads(x, size=8):
  return x.reshape(*x.shape[:2], -1, size)


def gelu_erf(x):
  return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def gelu_tanh(x):
  return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


@functools.partial(jax.jit, static_argnames=('encoding', 'causal'))
def solve(q, k, v, encoding, weights, at, causal, at_k):
  bound, (T, S) = Bound(encoding, weights), (q.shape[1], k.shape[1])
  query, key = bound.query(at.attach(q)), bound.key(at_k.attach(k, v))
  take = lambda tokens, start, stop: jax.tree.map(lambda x: x[:, start:stop], tokens)
  return jnp.concatenate([
    attend(
      take(query, start, stop), take(key, 0, S - (T - stop) * causal), bound, causal=causal,
      implementation='reference',
    ) for start, stop in ((0, T // 2), (T // 2, T))
  ], axis=1)


def attention(q, k, v, encoding, weights, at, causal=True, at_k=None):
  """Maps heads [B, T, N, H] to attention outputs [B, T, N H]."""
  dims = Dims(N=q.shape[2], K=k.shape[2], H=q.shape[3], D=q.shape[2] * q.shape[3])
  at_k = at if at_k is None else at_k
  o = solve(q * dims.scale, k, v, encoding.with_dims(dims), weights, at, causal, at_k)
  return np.asarray(o).reshape(*q.shape[:2], -1)


# Layers. `read` is `attention` of heads with the model's encoding.


def llama_layer(x, w, read):
  y = w.rms_norm('input_layernorm', x)
  q, k, v = (heads(w.dense(f'self_attn.{name}_proj', y)) for name in 'qkv')
  x = x + w.dense('self_attn.o_proj', read(q, k, v))
  y = w.rms_norm('post_attention_layernorm', x)
  gate = w.dense('mlp.gate_proj', y)
  return x + w.dense('mlp.down_proj', gate / (1 + np.exp(-gate)) * w.dense('mlp.up_proj', y))


def neox_layer(x, w, read):
  # Fused: q, k and v of each head.
  qkv = heads(w.dense('attention.query_key_value', w.layer_norm('input_layernorm', x)), 24)
  o = read(*np.split(qkv, 3, axis=-1))
  y = gelu_erf(w.dense('mlp.dense_h_to_4h', w.layer_norm('post_attention_layernorm', x)))
  return x + w.dense('attention.dense', o) + w.dense('mlp.dense_4h_to_h', y)


def gptj_layer(x, w, read):
  y = w.layer_norm('ln_1', x)
  o = read(*(heads(w.dense(f'attn.{name}_proj', y)) for name in 'qkv'))
  y = gelu_tanh(w.dense('mlp.fc_in', y))
  return x + w.dense('attn.out_proj', o) + w.dense('mlp.fc_out', y)


def gpt2_layer(x, w, read):
  # Its linear weights are [in, out].
  linear = lambda name, x: x @ w(f'{name}.weight') + w(f'{name}.bias')
  q, k, v = np.split(linear('attn.c_attn', w.layer_norm('ln_1', x)), 3, axis=-1)
  x = x + linear('attn.c_proj', read(heads(q), heads(k), heads(v)))
  y = gelu_tanh(linear('mlp.c_fc', w.layer_norm('ln_2', x)))
  return x + linear('mlp.c_proj', y)


def bloom_layer(x, w, read):
  # Fused as in GPT-NeoX.
  qkv = heads(w.dense('self_attention.query_key_value', w.layer_norm('input_layernorm', x)), 24)
  x = x + w.dense('self_attention.dense', read(*np.split(qkv, 3, axis=-1)))
  y = w.dense('mlp.dense_h_to_4h', w.layer_norm('post_attention_layernorm', x))
  # Its tanh form of GELU uses sqrt(2 / pi) with eight digits.
  y = y * (1 + np.tanh(0.79788456 * y * (1 + 0.044715 * y**2))) / 2
  return x + w.dense('mlp.dense_4h_to_h', y)


def mpt_layer(x, w, read):
  q, k, v = np.split(w.dense('attn.Wqkv', w.layer_norm('norm_1', x)), 3, axis=-1)
  x = x + w.dense('attn.out_proj', read(heads(q), heads(k), heads(v)))
  y = gelu_erf(w.dense('ffn.up_proj', w.layer_norm('norm_2', x)))
  return x + w.dense('ffn.down_proj', y)


def add_learned(x, table_RD, at):
  encoding = Learned(length=len(table_RD)).with_dims(Dims(N=3, K=3, H=8, D=24))
  return np.asarray(Bound(encoding, {'table_RD': table_RD}).embed(jnp.asarray(x), at, ())[0])


class Kind(NamedTuple):
  """The structure of a library's model, and the names of its parts."""

  layer: Callable
  layers: str
  words: str
  norm: str
  encoding: Callable  # from the configuration
  first: Callable = lambda x, w, at: x  # applied to word embeddings
  normalize: Callable = Weights.layer_norm


LLAMA = Kind(
  llama_layer, 'model.layers', 'model.embed_tokens', 'model.norm',
  lambda config: Rope(**read(config['rope_parameters'])['rope']), normalize=Weights.rms_norm,
)
MODELS = {
  'llama': LLAMA,
  'llama_llama3scaled': LLAMA,
  'qwen2': LLAMA,
  'gpt_neox': LLAMA._replace(
    layer=neox_layer, layers='gpt_neox.layers', words='gpt_neox.embed_in',
    norm='gpt_neox.final_layer_norm', normalize=Weights.layer_norm,
  ),
  'gptj': Kind(
    gptj_layer, 'transformer.h', 'transformer.wte', 'transformer.ln_f',
    lambda config: Rope(fraction=config['rotary_dim'] / 8, layout='interleaved'),
  ),
  'gpt2': Kind(
    gpt2_layer, 'transformer.h', 'transformer.wte', 'transformer.ln_f', lambda config: Nope(),
    lambda x, w, at: add_learned(x, w('transformer.wpe.weight'), at),
  ),
  'bloom': Kind(
    bloom_layer, 'transformer.h', 'transformer.word_embeddings', 'transformer.ln_f',
    lambda config: Alibi(),
    lambda x, w, at: w.layer_norm('transformer.word_embeddings_layernorm', x),
  ),
  'mpt': Kind(
    mpt_layer, 'transformer.blocks', 'transformer.wte', 'transformer.norm_f',
    lambda config: Alibi(bias_max=config['attn_config']['alibi_bias_max']),
  ),
}


def run(name, z, segment):
  """Returns the states after each layer (the last after the norm) and logits."""
  kind, config = MODELS[name], json.loads(bytes(z['meta_json']))['config']
  names = ('rms_norm_eps', 'layer_norm_eps', 'layer_norm_epsilon')
  (eps,) = (config[key] for key in names if key in config)
  w, at = Weights(z, eps=eps), at_of(*z['input_ids'].shape, segment)
  read_heads = functools.partial(attention, encoding=kind.encoding(config), weights={}, at=at)
  states = [kind.first(w(f'{kind.words}.weight')[z['input_ids']], w, at)]
  for i in range(2):
    states.append(kind.layer(states[-1], w.under(f'{kind.layers}.{i}'), read_heads))
  states[-1] = kind.normalize(w, kind.norm, states[-1])
  return states, w.dense('lm_head' if 'lm_head.weight' in w else kind.words, states[-1])


def mean_nll(logits, ids):
  return -np.log(np.take_along_axis(softmax(logits), ids[..., None], -1)).mean()


@pytest.mark.parametrize('name', MODELS)
def test_causal_models(name):
  z = golden(f'model_{name}')
  states, logits = run(name, z, 0)
  for i, state in enumerate(states):
    close(state, z[f'hidden_{i}'], **TIGHT)
  close(logits, z['logits'], **TIGHT)
  close(logits[:, 6:], z['cached_logits_last3'], **TIGHT)
  close(mean_nll(logits[:, :-1], z['input_ids'][:, 1:]), z['loss_mean_nll'][()], **TIGHT)


@pytest.mark.parametrize('name', MODELS)
def test_causal_models_with_left_padding(name):
  z = golden(f'model_{name}')
  real = z['leftpad_mask'] == 1
  _, logits = run(name, z, z['leftpad_mask'] - 1)
  assert real.sum() == 15
  close(logits[real], z['leftpad_logits'][real], **TIGHT)
