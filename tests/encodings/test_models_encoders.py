"""Masked, encoder-decoder and recurrent models of transformers.

tests/encodings/test_models.py has the causal models.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings.nope import Nope
from posjax.encodings.parts.rotation import rotate_by
from posjax.encodings.rope import Rope
from posjax.encodings.shaw import Shaw
from posjax.encodings.t5 import T5
from posjax.encodings.transformer_xl import TransformerXl
from tests.encodings.test_models import (
  TIGHT,
  Weights,
  add_learned,
  attention,
  gelu_erf,
  heads,
  mean_nll,
)
from tests.encodings.test_oracles import close
from tests.encodings.test_scaling import at_of
from tests.support.stored import golden

pytestmark = pytest.mark.usefixtures('float64')

# RoFormer's table of sines and cosines has passed through float32.
ROUNDED = dict(rtol=3e-6, atol=3e-6)


# BERT and RoFormer.


def bert_layer(x, w, read):
  q, k, v = (heads(w.dense(f'attention.self.{name}', x)) for name in ('query', 'key', 'value'))
  o = w.dense('attention.output.dense', read(q, k, v))
  x = w.layer_norm('attention.output.LayerNorm', x + o)
  y = w.dense('output.dense', gelu_erf(w.dense('intermediate.dense', x)))
  return w.layer_norm('output.LayerNorm', x + y)


def summed(w, z):
  """Returns the sum of word and type embeddings, before positions and LayerNorm."""
  words, types = (w(f'{name}_embeddings.weight') for name in ('word', 'token_type'))
  return words[z['input_ids']] + types[z['token_type_ids']]


def bert(w, name, x, read):
  """Returns states and logits. `read` is `attention` with a layer's weights and heads."""
  embeddings, head = w.under(f'{name}.embeddings'), w.under('cls.predictions')
  states = [embeddings.layer_norm('LayerNorm', x)]
  for i in range(2):
    layer = w.under(f'{name}.encoder.layer.{i}')
    states.append(bert_layer(states[-1], layer, functools.partial(read, layer)))
  y = head.layer_norm('transform.LayerNorm', gelu_erf(head.dense('transform.dense', states[-1])))
  return states, y @ embeddings('word_embeddings.weight').T + head('bias')


def check_states(z, states, logits, tolerance):
  real = z['attention_mask'] == 1
  assert real.sum() == 12
  close(states[0][real], z['hidden_0'][real], **TIGHT)
  for got, part in zip((*states[1:], logits), ('hidden_1', 'hidden_2', 'logits'), strict=True):
    close(got[real], z[part][real], **tolerance)


def test_bert():
  z = golden('model_bert')
  w, at = Weights(z, eps=1e-12), at_of(2, 8, z['attention_mask'] - 1)
  own = w.under('bert.embeddings')
  x = add_learned(summed(own, z), own('position_embeddings.weight'), at)
  read_heads = lambda layer, q, k, v: attention(q, k, v, Nope(), {}, at, causal=False)
  check_states(z, *bert(w, 'bert', x, read_heads), TIGHT)


@pytest.mark.parametrize('table, tolerance', [('ours', ROUNDED), ('its own', TIGHT)])
def test_roformer(table, tolerance):
  """The library's table has float32 precision; everything else is exact."""
  z = golden('model_roformer')
  w, at = Weights(z, eps=1e-12), at_of(2, 8, z['attention_mask'] - 1)
  sin, cos = np.split(w('roformer.encoder.embed_positions.weight')[None, :8], 2, axis=-1)

  def read_heads(layer, q, k, v):
    if table == 'ours':
      return attention(q, k, v, Rope(layout='interleaved'), {}, at, causal=False)
    q, k = (np.asarray(rotate_by(jnp.asarray(x), cos, sin, 'interleaved')) for x in (q, k))
    return attention(q, k, v, Nope(), {}, at, causal=False)

  x = summed(w.under('roformer.embeddings'), z)
  check_states(z, *bert(w, 'roformer', x, read_heads), tolerance)


@pytest.mark.parametrize('kind', ['relative_key', 'relative_key_query'])
def test_bert_with_relative_keys(kind):
  z = golden('legacy_bert_relative_key')
  w, at = Weights(z, f'{kind}_model/w:', eps=1e-12), at_of(2, 7)
  ids = z[f'{kind}_model/input_ids']
  encoding = Shaw(clip=9, with_values=False, with_queries=kind == 'relative_key_query')

  def read_heads(layer, q, k, v):
    # The library's rows are indexed by query minus key.
    rows = dict(keys_LRH=layer('attention.self.distance_embedding.weight')[::-1])
    return attention(q, k, v, encoding, rows, at, causal=False)

  x = summed(w.under('bert.embeddings'), {'input_ids': ids, 'token_type_ids': 0 * ids})
  states, logits = bert(w, 'bert', x, read_heads)
  close(states[-1], z[f'{kind}_model/hidden_last'], **TIGHT)
  close(logits, z[f'{kind}_model/logits'], **TIGHT)


# T5, an encoder-decoder.


def t5_stack(x, w, at, memory=None, at_memory=None):
  """Runs a stack's layers; decoder layers also read the encoder's output, `memory`."""
  causal = memory is not None
  encoding = T5(buckets=16, max_distance=40, bidirectional=not causal, scaled=False)
  # All layers share the first layer's table.
  table = dict(table_RN=w('block.0.layer.0.SelfAttention.relative_attention_bias.weight'))
  for i in range(2):
    parts = [w.under(f'block.{i}.layer.{j}') for j in range(2 + causal)]
    y = parts[0].rms_norm('layer_norm', x)
    q, k, v = (heads(parts[0].dense(f'SelfAttention.{name}', y)) for name in 'qkv')
    o = attention(q, k, v, encoding, table, at, causal=causal)
    x = x + parts[0].dense('SelfAttention.o', o)
    if causal:
      q = heads(parts[1].dense('EncDecAttention.q', parts[1].rms_norm('layer_norm', x)))
      k, v = (heads(parts[1].dense(f'EncDecAttention.{name}', memory)) for name in 'kv')
      # No positional encoding and no factor 1 / sqrt(H).
      o = attention(q * 8**0.5, k, v, Nope(), {}, at, causal=False, at_k=at_memory)
      x = x + parts[1].dense('EncDecAttention.o', o)
    y = np.maximum(parts[-1].dense('DenseReluDense.wi', parts[-1].rms_norm('layer_norm', x)), 0)
    x = x + parts[-1].dense('DenseReluDense.wo', y)
  return w.rms_norm('final_layer_norm', x)


def test_t5():
  z = golden('model_t5')
  w, real = Weights(z, eps=1e-6), z['attention_mask'] == 1
  at_memory, table = at_of(2, 11, z['attention_mask'] - 1), w('shared.weight')
  memory = t5_stack(table[z['input_ids']], w.under('encoder'), at_memory)
  assert real.sum() == 16
  close(memory[real], z['encoder_output'][real], **TIGHT)
  x = t5_stack(table[z['decoder_input_ids']], w.under('decoder'), at_of(2, 6), memory, at_memory)
  logits = 24**-0.5 * x @ table.T
  close(logits, z['logits'], **TIGHT)
  close(mean_nll(logits, z['labels']), z['loss'][()], **TIGHT)


# Transformer-XL, whose second segment reads the first one's states.


def test_transformer_xl():
  z = golden('legacy_transfo_xl')
  w, memory = Weights(z, 'model/w:'), np.zeros((2, 2, 3, 8))  # three tokens for each layer
  for ids, want in (('ids', 'hidden'), ('ids2', 'hidden2')):
    x, at_k = 8**0.5 * w('word_emb.emb_layers.0.weight')[z[f'model/{ids}']], at_of(2, 7)
    at, after = jax.tree.map(lambda x: x[:, 3:], at_k), []
    for i in range(2):
      after.append(x[:, -3:])
      own, ff = w.under(f'layers.{i}.dec_attn'), w.under(f'layers.{i}.pos_ff')
      context = np.concatenate([memory[i], x], axis=1)
      q, k, v = (heads(part, 4) for part in np.split(own.dense('qkv_net', context), 3, axis=-1))
      weights = dict(
        position_LDNH=own('r_net.weight').T.reshape(8, 2, 4), u_NH=own('r_w_bias'),
        v_NH=own('r_r_bias'),
      )
      o = attention(q[:, 3:], k, v, TransformerXl(), weights, at, at_k=at_k)
      x = own.layer_norm('layer_norm', x + own.dense('o_net', o))
      y = ff.dense('CoreNet.3', np.maximum(ff.dense('CoreNet.0', x), 0))
      x = ff.layer_norm('layer_norm', x + y)
    close(x, z[f'model/{want}'], **TIGHT)
    memory = after
