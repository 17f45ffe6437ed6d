"""The oracles against stored outputs of public libraries (tests/golden) and by hand."""

import ast
import json
import math
import pathlib

import numpy as np
import pytest

from tests.oracles import alibi, attention, learned, nope, rope, sinusoidal
from tests.support.stored import golden

TESTS = pathlib.Path(__file__).parents[1]
HALF = {'base': 10000.0, 'fraction': 1.0, 'layout': 'half'}
INTERLEAVED = {'base': 10000.0, 'fraction': 1.0, 'layout': 'interleaved'}


def close(got, want, rtol=1e-12, atol=1e-13):
  np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, strict=True)


def tokens(x):
  """Converts the libraries' [batch, head, position, channel] to the oracles' order, or back."""
  return np.asarray(x, np.float64).swapaxes(1, 2)


def draw(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def softmax(logits):
  weight = np.exp(logits - logits.max(-1, keepdims=True))
  return weight / weight.sum(-1, keepdims=True)


def everything(batch, queries, keys):
  return np.ones((batch, queries, keys), bool)


def positions(batch, length):
  return np.tile(np.arange(length), (batch, 1))


# Attention.


def test_visible_causal_by_hand():
  order, segment = [[0, 1, 2, 3]], [[0, 0, 1, -1]]
  got = attention.visible(order, order, segment, segment, True, 0)
  want = [[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]]
  close(got, np.array(want, bool))


def test_visible_bidirectional_sees_its_segment_only():
  order, segment = [[0, 1, 2, 3]], [[0, 0, 1, -1]]
  got = attention.visible(order, order, segment, segment, False, 0)
  want = [[[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]]
  close(got, np.array(want, bool))


@pytest.mark.parametrize(
  'causal, want',
  [(True, [[1, 1, 0, 0], [0, 1, 1, 0]]), (False, [[1, 1, 1, 0], [0, 1, 1, 1]])],
)
def test_visible_window_of_two_with_fewer_queries_than_keys(causal, want):
  got = attention.visible([[1, 2]], [[0, 1, 2, 3]], [[5, 5]], [[5, 5, 5, 5]], causal, 2)
  close(got, np.array([want], bool))


def test_visible_takes_the_order_not_the_index():
  got = attention.visible([[7, 3]], [[5, 3, 9]], [[0, 0]], [[0, 0, 0]], True, 0)
  close(got, np.array([[[1, 1, 0], [0, 1, 0]]], bool))


def test_attend_by_hand():
  # Logits 0 and ln 3 weigh 1/4 and 3/4; the masked third key would have outweighed both.
  logits = [0.0, math.log(3.0), 50.0]
  v = np.array([[[[4.0]], [[8.0]], [[1e6]]]])
  seen = np.array([[[True, True, False], [False, False, False]]])
  got = attention.attend(lambda b, n, i, j: logits[j], v, seen, 1)
  close(got, np.array([[[[7.0]], [[0.0]]]]))


def test_attend_survives_large_logits():
  got = attention.attend(lambda b, n, i, j: 1e5, np.ones((1, 3, 1, 2)), everything(1, 1, 3), 1)
  close(got, np.ones((1, 1, 1, 2)))


def test_consecutive_query_heads_share_a_key_value_head():
  q, k, v = draw(0, 2, 3, 4, 2), draw(1, 2, 5, 2, 2), draw(2, 2, 5, 2, 2)
  got = nope.attend(q, k, v, None, None, everything(2, 3, 5), {}, {})
  for head, shared in enumerate([0, 0, 1, 1]):
    weight = softmax(np.einsum('bth,bsh->bts', q[:, :, head], k[:, :, shared]))
    close(got[:, :, head], np.einsum('bts,bsh->bth', weight, v[:, :, shared]))


@pytest.mark.parametrize(
  'oracle, args, weights',
  [
    (sinusoidal, {'base': 10000.0, 'layout': 'half'}, {}),
    (learned, {'length': 9, 'stddev': 0.02}, {'table_RD': np.ones((9, 4))}),
  ],
)
def test_input_encodings_do_not_change_attention(oracle, args, weights):
  q, k, v = draw(0, 1, 3, 2, 4), draw(1, 1, 3, 2, 4), draw(2, 1, 3, 2, 4)
  pos, seen = np.array([[4, 1, 8]]), np.tril(everything(1, 3, 3))
  logits = np.where(seen[:, None], np.einsum('btnh,bsnh->bnts', q, k), -np.inf)
  want = np.einsum('bnts,bsnh->btnh', softmax(logits), v)
  close(oracle.attend(q, k, v, pos, pos, seen, args, weights), want)


@pytest.mark.parametrize('oracle, args', [(nope, {}), (rope, HALF), (alibi, {'bias_max': 8.0})])
def test_attention_encodings_do_not_change_the_input(oracle, args):
  x = draw(0, 2, 3, 4)
  got = oracle.embed(x, positions(2, 3) + 5, args, {})
  close(got, x, rtol=0, atol=0)
  assert got is not x


# Sinusoids.


@pytest.mark.parametrize(
  'case, layout, rtol',
  [
    ('whisper', 'tensor2tensor', 1e-12),
    ('fairseq_nopad', 'tensor2tensor', 1e-12),
    ('marian', 'half', 3e-6),  # The library rounds to float32.
  ],
)
def test_sinusoidal_halves(case, layout, rtol):
  want = golden('sinusoidal_variants')[f'{case}/L13_d12']
  close(sinusoidal.table(np.arange(13), 12, 10000.0, layout), want, rtol, atol=rtol / 10)


def test_sinusoidal_fairseq_zeroes_the_padding_row():
  want = golden('sinusoidal_variants')['fairseq_pad1/L13_d12']
  got = sinusoidal.table(np.arange(13), 12, 10000.0, 'tensor2tensor')
  close(got[[0, *range(2, 13)]], want[[0, *range(2, 13)]])
  close(want[1], np.zeros(12))


def test_sinusoidal_m2m100_numbers_tokens_from_the_padding_id():
  z = golden('sinusoidal_variants')
  real = z['fairseq_ids/input_ids'] != 1
  pos = np.cumsum(real, axis=1) * real + 1
  close(pos, z['fairseq_ids/position_ids'])
  args = {'base': 10000.0, 'layout': 'tensor2tensor'}
  got = sinusoidal.embed(np.zeros((3, 9, 16)), pos, args, {})
  assert real.sum() == 22
  close(got[real], z['fairseq_ids/y'][real])
  close(z['fairseq_ids/y'][~real], np.zeros((5, 16)))


def test_sinusoidal_interleaved_speecht5():
  z = golden('sinusoidal_variants')
  x, alpha = z['speecht5_scaled/L13_d12/x'], z['speecht5_scaled/L13_d12/alpha']
  args = {'base': 10000.0, 'layout': 'interleaved'}
  got = alpha * sinusoidal.embed(np.float64(x) / alpha, positions(2, 10), args, {})
  close(got, z['speecht5_scaled/L13_d12/y'])


def test_sinusoidal_half_x_transformers():
  z = golden('sinusoidal_variants')
  got = z['xt_scaled/L13_d12/scale'] * sinusoidal.table(np.arange(10), 12, 10000.0, 'half')
  close(got, z['xt_scaled/L13_d12/y'])


def test_sinusoidal_interleaved_tables():
  z = golden('sinusoidal_pe123d')
  close(sinusoidal.table(np.arange(11), 12, 10000.0, 'interleaved'), z['pe1d/L11_d12'])
  # The library builds an odd width at the next even one and cuts the last channel.
  close(sinusoidal.table(np.arange(11), 10, 10000.0, 'interleaved')[:, :9], z['pe1d/L11_d9'])


@pytest.mark.parametrize('case, width', [('pe2d/3x4_d16', 8), ('pe3d/2x2x3_d18', 6)])
def test_sinusoidal_grids_are_a_table_per_axis(case, width):
  want = golden('sinusoidal_pe123d')[case]
  for axis, index in enumerate(np.indices(want.shape[:-1])):
    got = sinusoidal.table(index.ravel(), width, 10000.0, 'interleaved')
    block = want[..., axis * width : (axis + 1) * width]
    close(got.reshape(block.shape), block)


def test_sinusoidal_fractions_by_hand():
  # Width 4 and base 16: the frequencies are 1 and 1/4, or 1 and 1/16 with the endpoint.
  sin, cos = math.sin, math.cos
  want = {
    'interleaved': [sin(0.5), cos(0.5), sin(0.125), cos(0.125)],
    'half': [sin(0.5), sin(0.125), cos(0.5), cos(0.125)],
    'tensor2tensor': [sin(0.5), sin(0.03125), cos(0.5), cos(0.03125)],
  }
  for layout, row in want.items():
    got = sinusoidal.embed(np.ones((1, 1, 4)), [[0.5]], {'base': 16.0, 'layout': layout}, {})
    close(got, 1 + np.array([[row]]))


def test_a_negative_position_flips_the_sines():
  there = sinusoidal.table([3.0], 6, 10000.0, 'half')
  back = sinusoidal.table([-3.0], 6, 10000.0, 'half')
  close(back, there * [-1, -1, -1, 1, 1, 1])
  assert np.abs(there[0, :3]).min() > 1e-3


def test_sinusoidal_endpoint_of_a_single_frequency_is_one():
  got = sinusoidal.table([0.5], 2, 10000.0, 'tensor2tensor')
  close(got, np.array([[math.sin(0.5), math.cos(0.5)]]))


# Learned tables.


def layer_norm(x, z, case):
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
  return x * z[f'{case}/w:LayerNorm.weight'] + z[f'{case}/w:LayerNorm.bias']


def add_learned(x, pos, table):
  args = {'length': len(table), 'stddev': 0.02}
  return learned.embed(x, pos, args, {'table_RD': table})


def test_learned_gpt2():
  z = golden('learned_absolute')
  got = add_learned(z['gpt2/wte'][z['gpt2/input_ids']], positions(2, 6), z['gpt2/wpe'])
  close(got, z['gpt2/y'])


@pytest.mark.parametrize('given, part', [(False, 'y'), (True, 'y_pos')])
def test_learned_bert(given, part):
  z = golden('learned_absolute')
  words = np.float64(z['bert/w:word_embeddings.weight'])[z['bert/input_ids']]
  words += z['bert/w:token_type_embeddings.weight'][z['bert/token_type_ids']]
  pos = z['bert/position_ids'] if given else positions(2, 6)
  got = add_learned(words, pos, z['bert/w:position_embeddings.weight'])
  close(layer_norm(got, z, 'bert'), z[f'bert/{part}'], rtol=1e-11)


def test_learned_roberta_numbers_tokens_from_the_padding_id():
  z = golden('learned_absolute')
  ids = z['roberta/input_ids']
  words = np.float64(z['roberta/w:word_embeddings.weight'])[ids]
  words += z['roberta/w:token_type_embeddings.weight'][0]
  pos = np.cumsum(ids != 1, axis=1) * (ids != 1) + 1
  got = add_learned(words, pos, z['roberta/w:position_embeddings.weight'])
  close(layer_norm(got, z, 'roberta'), z['roberta/y'], rtol=1e-11)


def test_learned_opt_reads_its_table_two_rows_later():
  z = golden('learned_absolute')
  mask = z['opt/attention_mask']
  pos = np.cumsum(mask, axis=1) * mask - 1 + 2
  got = add_learned(np.zeros((2, 6, 8)), pos, z['opt/w:weight'])
  close(got, z['opt/y'], rtol=0, atol=0)


@pytest.mark.parametrize('pos', [-1, 5])
def test_learned_refuses_positions_outside_its_table(pos):
  with pytest.raises(IndexError, match=f'position {pos} outside a table of 5 rows'):
    add_learned(np.zeros((1, 1, 2)), np.array([[pos]]), np.ones((5, 2)))


# Rotary embeddings.


@pytest.mark.parametrize('case, base', [('d8_theta10000', 1e4), ('d16_theta1e+06', 1e6)])
def test_rope_half_llama(case, base):
  z = {key.split('/')[1]: value for key, value in golden('rope_half_llama').items() if case in key}
  args = {'base': base, 'fraction': 1.0, 'layout': 'half'}
  pos, width = z['position_ids'], z['cos'].shape[-1]
  close(np.array(rope.frequencies(width, base)), z['inv_freq'])
  # At positions in the thousands, the last bits of an angle differ.
  close(tokens(rope.rotate(tokens(z['q']), pos, **args)), z['q_rot'], 1e-10, 1e-11)
  close(tokens(rope.rotate(tokens(z['k']), pos, **args)), z['k_rot'], 1e-10, 1e-11)
  # The pair (1, 0) rotated by an angle is (cos, sin): this also fixes the sense of rotation.
  unit = np.zeros((2, 5, 1, width))
  unit[..., : width // 2] = 1
  turned = rope.rotate(unit, pos, **args)[:, :, 0]
  close(turned[..., : width // 2], z['cos'][..., : width // 2], 1e-10, 1e-11)
  close(turned[..., width // 2 :], z['sin'][..., width // 2 :], 1e-10, 1e-11)


def test_rope_interleaved_gptj():
  z = golden('rope_interleaved')
  args = {**INTERLEAVED, 'fraction': 0.5}
  got = rope.rotate(z['gptj/d8_r4/q'], z['gptj/d8_r4/position_ids'], **args)
  close(got, z['gptj/d8_r4/q_rot'])
  angles = [[p * theta for theta in rope.frequencies(4, 10000.0)] for p in range(32)]
  close(np.concatenate([np.sin(angles), np.cos(angles)], 1), z['gptj/d8_r4/table'])


def test_rope_interleaved_cohere():
  z = golden('rope_interleaved')
  for part in 'qk':
    got = rope.rotate(tokens(z[f'cohere/{part}']), z['cohere/position_ids'], **INTERLEAVED)
    close(tokens(got), z[f'cohere/{part}_rot'])


def test_rope_interleaved_roformer():
  z = golden('rope_interleaved')
  inputs = {'q': z['cohere/q'], 'k': z['cohere/k'], 'v': z['roformer/v']}
  # The library rounds its table to float32.
  for part, x in inputs.items():
    got = tokens(rope.rotate(tokens(x), positions(2, 5), **INTERLEAVED))
    close(got, z[f'roformer/{part}_rot'], 3e-6, 3e-7)
  unit = np.tile([1.0, 0.0], (1, 5, 1, 4))
  turned = rope.rotate(unit, positions(1, 5), **INTERLEAVED)[0, :, 0]
  close(np.concatenate([turned[:, 1::2], turned[:, 0::2]], 1), z['roformer/table'], 3e-6, 3e-7)


@pytest.mark.parametrize(
  'part, pos, change',
  [
    ('q_rot', np.arange(5), {}),
    ('q_rot_offset7', np.arange(5) + 7, {}),
    ('q_rot_interpolate4', np.arange(5) / 4, {}),
    ('q_rot_ntk8', np.arange(5), {'base': 10000.0 * 8 ** (8 / 6)}),
    ('q_rot_partial', np.arange(5), {'fraction': 0.5}),
  ],
)
def test_rope_interleaved_rotary_embedding_torch(part, pos, change):
  z = golden('rope_interleaved')
  got = rope.rotate(tokens(z['cohere/q']), np.stack([pos, pos]), **{**INTERLEAVED, **change})
  close(tokens(got), z[f'ret/{part}'])


def test_rope_interleaved_rotary_embedding_torch_with_a_cache():
  z = golden('rope_interleaved')
  q = rope.rotate(tokens(z['cohere/q'])[:, 2:], positions(2, 5)[:, 2:], **INTERLEAVED)
  k = rope.rotate(tokens(z['cohere/k']), positions(2, 5), **INTERLEAVED)
  close(tokens(q), z['ret/cached_q_rot'])
  close(tokens(k), z['ret/cached_k_rot'])


@pytest.mark.parametrize(
  'case, fraction, layout',
  [
    ('neox', 0.25, 'half'),
    ('neox50', 0.5, 'half'),
    ('phi', 0.5, 'half'),
    ('glm', 0.5, 'interleaved'),
  ],
)
def test_rope_partial(case, fraction, layout):
  z = golden('rope_partial')
  assert z[f'{case}/fraction'] == fraction
  width = int(8 * fraction)
  close(np.array(rope.frequencies(width, 10000.0)), z[f'{case}/inv_freq'])
  args = {'base': 10000.0, 'fraction': fraction, 'layout': layout}
  for part in 'qk':
    x = tokens(z[f'{case}/{part}'])
    got = rope.rotate(x, z[f'{case}/position_ids'], **args)
    close(tokens(got), z[f'{case}/{part}_rot'], atol=1e-12)
    close(got[..., width:], x[..., width:], rtol=0, atol=0)


def test_rope_attends_with_rotated_queries_and_keys():
  z = golden('rope_half_llama')
  q, k, q_rot, k_rot, pos = (
    z[f'd8_theta10000/{part}'] for part in ['q', 'k', 'q_rot', 'k_rot', 'position_ids']
  )
  v, q_pos = draw(0, 2, 5, 1, 8), pos[:, 1:4]
  got = rope.attend(tokens(q)[:, 1:4], tokens(k), v, q_pos, pos, everything(2, 3, 5), HALF, {})
  weight = softmax(q_rot[:, :, 1:4] @ k_rot.swapaxes(2, 3))
  close(tokens(got), weight @ tokens(v), 1e-10, 1e-11)


def rms_norm(x, scale):
  return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * scale


def llama_layer(x, z, layer, seen, rows):
  """Runs one layer of tests/golden/model_llama.npz, for the queries in `rows` only."""
  w = {
    key.split('.', 3)[3].removesuffix('.weight'): np.float64(value).T
    for key, value in z.items()
    if key.startswith(f'w:model.layers.{layer}.')
  }
  y = rms_norm(x, w['input_layernorm'])
  q, k, v = (
    (y @ w[f'self_attn.{part}_proj']).reshape(*x.shape[:2], -1, 8) for part in ['q', 'k', 'v']
  )
  pos = positions(*x.shape[:2])
  out = rope.attend(q[:, rows] / math.sqrt(8), k, v, pos[:, rows], pos, seen[:, rows], HALF, {})
  x = x[:, rows] + out.reshape(*out.shape[:2], 24) @ w['self_attn.o_proj']
  y = rms_norm(x, w['post_attention_layernorm'])
  gate = y @ w['mlp.gate_proj']
  return x + (gate / (1 + np.exp(-gate)) * (y @ w['mlp.up_proj'])) @ w['mlp.down_proj']


def llama(z, segment, rows=slice(None)):
  """Returns the states after each layer and the logits; the last layer computes only `rows`."""
  seen = attention.visible(positions(2, 9), positions(2, 9), segment, segment, True, 0)
  zero = np.float64(z['w:model.embed_tokens.weight'])[z['input_ids']]
  one = llama_layer(zero, z, 0, seen, slice(None))
  two = rms_norm(llama_layer(one, z, 1, seen, rows), z['w:model.norm.weight'])
  return zero, one, two, two @ np.float64(z['w:lm_head.weight']).T


def test_rope_in_a_llama():
  z = golden('model_llama')
  config = json.loads(bytes(z['meta_json']))['config']
  assert config['rope_parameters'] == {'rope_theta': 10000.0, 'rope_type': 'default'}
  *states, logits = llama(z, np.zeros((2, 9), int))
  for index, state in enumerate(states):
    close(state, z[f'hidden_{index}'], rtol=1e-10)
  close(logits, z['logits'], rtol=1e-10)
  nll = -np.log(np.take_along_axis(softmax(logits)[:, :-1], z['input_ids'][:, 1:, None], -1))
  close(nll.mean(), z['loss_mean_nll'][()], rtol=1e-10)


def test_rope_in_a_llama_with_left_padding():
  z = golden('model_llama')
  real = z['leftpad_mask'] == 1
  logits = llama(z, z['leftpad_mask'] - 1)[-1]
  assert real.sum() == 15
  close(logits[real], z['leftpad_logits'][real], rtol=1e-10)


def test_rope_in_a_llama_with_fewer_queries_than_keys():
  z = golden('model_llama')
  logits = llama(z, np.zeros((2, 9), int), slice(6, 9))[-1]
  close(logits, z['cached_logits_last3'], rtol=1e-10)


# ALiBi.


@pytest.mark.parametrize('heads', [5, 8, 12])
@pytest.mark.parametrize(
  'library, rtol',
  [('bloom', 1e-15), ('mpt', 1e-15), ('xt', 1e-15), ('bloom_f32', 1e-6), ('falcon_bf16', 2**-8)],
)
def test_alibi_slopes(heads, library, rtol):
  want = golden('alibi')[f'slopes_{library}/h{heads}']
  close(np.array(alibi.slopes(heads, 8.0)), np.float64(want), rtol, atol=0)


def test_alibi_slopes_by_hand():
  close(np.array(alibi.slopes(6, 8.0)), 2.0 ** -np.array([2.0, 4, 6, 8, 1, 3]), 1e-15, 0)
  close(np.array(alibi.slopes(3, 16.0)), 2.0 ** -np.array([8.0, 16, 4]), 1e-15, 0)
  close(np.array(alibi.slopes(1, 8.0)), np.array([2.0**-8]), 1e-15, 0)


def biases(heads, bias_max, q_pos, k_pos):
  return np.array(
    [[[alibi.bias(m, i, j) for j in k_pos] for i in q_pos] for m in alibi.slopes(heads, bias_max)]
  )


def attends_like(bias, heads, q_pos, k_pos, seen, bias_max):
  """Asserts that alibi.attend equals attention with the library's bias [B,N,T,S] on the logits."""
  batch, queries, keys = seen.shape
  q, k, v = (draw(seed, batch, n, heads, 4) for seed, n in enumerate([queries, keys, keys]))
  logits = np.einsum('btnh,bsnh->bnts', q, k) + bias
  logits = np.where(seen[:, None], logits, -np.inf)
  some = seen.any(-1)
  want = np.einsum('bnts,bsnh->btnh', softmax(np.where(some[:, None, :, None], logits, 0)), v)
  got = alibi.attend(q, k, v, q_pos, k_pos, seen, {'bias_max': bias_max}, {})
  close(got[some], want[some], rtol=1e-11)
  close(got[~some], np.zeros_like(got[~some]))


@pytest.mark.parametrize('heads', [8, 12])
def test_alibi_symmetric_x_transformers(heads):
  z = golden('alibi')
  # Fewer queries than keys: the queries are the last of the keys.
  want = z[f'bias_xt_symmetric/h{heads}/q4_k7']
  close(biases(heads, 8.0, np.arange(3, 7), np.arange(7)), want)
  q_pos, k_pos = np.arange(3, 7)[None], np.arange(7)[None]
  attends_like(want, heads, q_pos, k_pos, everything(1, 4, 7), 8.0)


@pytest.mark.parametrize('heads', [8, 12])
def test_alibi_any_positions_x_transformers(heads):
  z = golden('alibi')
  q_pos, k_pos, want = (z[f'bias_xt_pos/h{heads}/{part}'] for part in ['pos_q', 'pos_k', 'bias'])
  close(biases(heads, 8.0, q_pos, k_pos), want)
  attends_like(want, heads, q_pos[None], k_pos[None], everything(1, 5, 7), 8.0)


@pytest.mark.parametrize('heads', [8, 12])
@pytest.mark.parametrize('case, bias_max', [('bias_mpt', 8.0), ('bias_mpt_max16', 16.0)])
def test_alibi_mpt(heads, case, bias_max):
  want = golden('alibi')[f'{case}/h{heads}/bias']
  # MPT writes the last query's row for all queries, a constant off under a causal mask.
  close(biases(heads, bias_max, [6], np.arange(7))[:, 0], want)
  pos, seen = np.arange(7)[None], np.tril(everything(1, 7, 7))
  attends_like(want[None, :, None], heads, pos, pos, seen, bias_max)


@pytest.mark.parametrize('heads', [8, 12])
@pytest.mark.parametrize('prefix', ['', 'leftpad_'])
def test_alibi_bloom(heads, prefix):
  z = golden('alibi')
  mask, want = z[f'bias_bloom/h{heads}/{prefix}mask'], z[f'bias_bloom/h{heads}/{prefix}bias']
  pos = np.cumsum(mask, axis=1) - 1
  for row in range(3):
    # Bloom's +m*j is the distance to position 0 with the other sign.
    got = -biases(heads, 8.0, [0], pos[row])[:, 0] * mask[row]
    close(got, want[row])
  order = positions(3, 7)
  seen = attention.visible(order, order, mask - 1, mask - 1, True, 0)
  attends_like(want[:, :, None], heads, pos, pos, seen, 8.0)


def test_alibi_takes_fractions():
  close(np.array(alibi.bias(0.25, 1.5, 4.0)), np.array(-0.625))


# Independence.


@pytest.mark.parametrize('path', sorted((TESTS / 'oracles').glob('*.py')), ids=lambda p: p.name)
def test_oracles_import_only_math_and_numpy(path):
  allowed = {'math', 'numpy'}
  if path.name != 'attention.py':
    allowed |= {f'tests.oracles.{other.stem}' for other in path.parent.glob('*.py')}
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found |= {f'{"." * node.level}{node.module or ""}.{alias.name}' for alias in node.names}
    elif isinstance(node, ast.Name):
      assert node.id not in {'__import__', 'exec', 'eval'}, node.id
  assert found <= allowed, found - allowed
  assert path.name == '__init__.py' or 'numpy' in found
