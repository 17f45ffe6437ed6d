"""The package against the library numbers of tests/encodings/test_oracles*.py, in float64.

Other files of tests/golden are compared where their encodings are tested.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.encodings.alibi import Alibi, slopes
from posjax.encodings.cope import Cope
from posjax.encodings.parts.buckets import bucket
from posjax.encodings.parts.rotation import frequencies
from posjax.encodings.rope import Rope
from posjax.encodings.shaw import Shaw
from posjax.encodings.t5 import T5
from posjax.encodings.transformer_xl import TransformerXl
from posjax.encodings.xpos import Xpos
from tests.encodings.test_biases import biases
from tests.encodings.test_models import Weights, attention, heads
from tests.encodings.test_oracles import close, softmax, tokens
from tests.encodings.test_rotary_variants import rotated
from tests.encodings.test_scaling import at_of
from tests.support.stored import derived, golden

pytestmark = [pytest.mark.usefixtures('float64'), pytest.mark.slow]

TIGHT = dict(rtol=1e-11, atol=1e-12)


def softmax_and_output(q, k, v, encoding, weights, **how):
  """Returns weights [B, N, T, S] and outputs [B, T, N H] at 0, 1, 2, …; queries are last."""
  (B, T, N, H), S = q.shape, k.shape[1]
  # Identity columns appended to the values return the softmax itself.
  v = np.concatenate([v, np.broadcast_to(np.eye(S)[:, None], (B, S, k.shape[2], S))], axis=-1)
  at_k = at_of(B, S)
  at = jax.tree.map(lambda x: x[:, S - T :], at_k)
  o = attention(q, k, v, encoding, weights, at, at_k=at_k, **how).reshape(B, T, N, -1)
  return o[..., H:].swapaxes(1, 2), o[..., :H].reshape(B, T, -1)


def causal(logits):
  return softmax(np.where(np.tri(*logits.shape[-2:], dtype=bool), logits, -np.inf))


# Biases.


@pytest.mark.parametrize('count', [5, 8, 12])
def test_alibi_slopes(count):
  z = golden('alibi')
  for library in ('bloom', 'mpt', 'xt'):
    close(np.asarray(slopes(count)), z[f'slopes_{library}/h{count}'], 1e-15, 0)
  # As in the libraries.
  close(np.asarray(slopes(count)), np.float64(z[f'slopes_bloom_f32/h{count}']), 1e-6, 0)
  close(np.asarray(slopes(count)), np.float64(z[f'slopes_falcon_bf16/h{count}']), 2**-8, 0)


@pytest.mark.parametrize('count', [8, 12])
def test_alibi_biases(count):
  z = golden('alibi')
  got = biases(Alibi(), {}, 4, 7, heads=count)
  close(got, z[f'bias_xt_symmetric/h{count}/q4_k7'], **TIGHT)
  # MPT uses the last query's row for all queries.
  close(got[:, -1], z[f'bias_mpt/h{count}/bias'], **TIGHT)
  steep = biases(Alibi(bias_max=16.0), {}, 4, 7, heads=count)
  close(steep[:, -1], z[f'bias_mpt_max16/h{count}/bias'], **TIGHT)


@pytest.mark.parametrize('mode', ['bi', 'causal'])
def test_t5_biases(mode):
  z = golden('t5_bias')
  weights = {'table_RN': np.float64(z[f'bias_{mode}/table'])}
  for queries, keys in ((7, 7), (2, 12)):
    want = z[f'bias_{mode}/q{queries}_k{keys}_past{keys - queries}']
    got = biases(T5(bidirectional=mode == 'bi'), weights, queries, keys)
    close(got, np.float64(want), 0, 0)


@pytest.mark.parametrize('buckets, max_distance', [(32, 128), (12, 50)])
def test_t5_buckets_of_mpnet(buckets, max_distance):
  z = golden('t5_bias')
  got = bucket(jnp.asarray(-z['rel'], float), buckets, max_distance, bidirectional=True)
  np.testing.assert_array_equal(got, z[f'mpnet_bucket/nb{buckets}_md{max_distance}'])


def test_cope():
  z = {key.removeprefix('cope_p5_L7/'): x for key, x in golden('cope').items()}
  q, k = tokens(z['q']), tokens(z['k'])
  want = derived('cope', 'probs', causal(z['scores_causal']))
  weights = {'table_LHR': np.float64(z['pos_emb']).T}
  got, _ = softmax_and_output(q, k, k, Cope(rows=5, scaled=False), weights)
  close(got, want, **TIGHT)


# Rotations.

ROTATIONS = [
  ('rope_half_llama', 'd8_theta10000', Rope()),
  ('rope_half_llama', 'd16_theta1e+06', Rope(base=1e6)),
  ('rope_partial', 'neox', Rope(fraction=0.25)),
  ('rope_partial', 'neox50', Rope(fraction=0.5)),
  ('rope_partial', 'phi', Rope(fraction=0.5)),
  ('rope_partial', 'glm', Rope(fraction=0.5, layout='interleaved')),
  ('rope_interleaved', 'cohere', Rope(layout='interleaved')),
]


@pytest.mark.parametrize('file, case, rope', ROTATIONS)
def test_rope(file, case, rope):
  z = {key.removeprefix(f'{case}/'): x for key, x in golden(file).items()}
  got = rotated(rope, tokens(z['q']), tokens(z['k']), z['position_ids'])
  # At positions in the thousands, the order of multiplication changes an angle's last digits.
  for x, part in zip(got, 'qk', strict=True):
    close(tokens(x), z[f'{part}_rot'], 1e-10, 1e-11)
  if 'inv_freq' in z:
    close(frequencies(2 * len(z['inv_freq']), rope.base), z['inv_freq'], 1e-15, 0)


@pytest.mark.parametrize('part, rope, factor, start', [
  ('q_rot', Rope(layout='interleaved'), 1, 0),
  ('q_rot_offset7', Rope(layout='interleaved'), 1, 7),
  ('q_rot_interpolate4', Rope(layout='interleaved'), 4, 0),
  ('q_rot_partial', Rope(fraction=0.5, layout='interleaved'), 1, 0),
  (
    'q_rot_ntk8', Rope(layout='interleaved', scaling={'rope_type': 'ntk', 'factor': 8.0}), 1, 0
  ),
])
def test_rope_of_rotary_embedding_torch(part, rope, factor, start):
  z = golden('rope_interleaved')
  q, pos = tokens(z['cohere/q']), (np.arange(5.0) + start)[None].repeat(2, 0) / factor
  got, _ = rotated(rope, q, q, pos)
  close(tokens(got), z[f'ret/{part}'], **TIGHT)


def test_rope_of_gptj():
  z = golden('rope_interleaved')
  q = np.float64(z['gptj/d8_r4/q'])
  encoding = Rope(fraction=0.5, layout='interleaved')
  got, _ = rotated(encoding, q, q, z['gptj/d8_r4/position_ids'])
  close(np.asarray(got), z['gptj/d8_r4/q_rot'], **TIGHT)


@pytest.mark.parametrize('library', ['xt', 'ret', 'ts'])
def test_xpos(library):
  """Each library centers its scale elsewhere, so the softmax of the products is compared."""
  z = {key.removeprefix('d8_L9_sb128/'): x for key, x in golden('xpos').items()}
  products = z[f'{library}_q'] @ z[f'{library}_k'].mT
  want = derived('xpos', f'{library} softmax', causal(products / 8**0.5))
  q, k = tokens(z['q']), tokens(z['k'])
  got, _ = softmax_and_output(q, k, k, Xpos(scale_base=128.0), {})
  close(got, want, **TIGHT)


# Relative keys.


def test_shaw_of_wav2vec2_bert():
  z = golden('shaw_relative')
  w = Weights(z, 'key_l3_r2/w:')
  q, k, v = (heads(w.dense(f'linear_{part}', z['key_l3_r2/x']), 4) for part in 'qkv')
  # Three rows to the left and two to the right: repeating the last row makes the clip 3.
  rows = dict(keys_LRH=w('distance_embedding.weight')[[*range(6), 5]])
  probs, o = softmax_and_output(q, k, v, Shaw(clip=3, with_values=False), rows, causal=False)
  close(probs, z['key_l3_r2/probs'], **TIGHT)
  close(w.dense('linear_out', o), z['key_l3_r2/y'], **TIGHT)


def test_shaw_of_vits():
  z, case = golden('shaw_relative'), 'vits_key_value_w2'
  w = Weights(z, f'{case}/w:')
  q, k, v = (heads(w.dense(f'{part}_proj', z[f'{case}/x']), 4) for part in 'qkv')
  # Zero outside the window of 2: clipping to 3 reads zero rows there.
  keys, values = (np.pad(w(f'emb_rel_{part}')[0], [(1, 1), (0, 0)]) for part in 'kv')
  probs, _ = softmax_and_output(
    q, k, v, Shaw(clip=3, with_values=False), dict(keys_LRH=keys), causal=False
  )
  close(probs, z[f'{case}/probs'], **TIGHT)
  o = attention(
    q, k, v, Shaw(clip=3), dict(keys_LRH=keys, values_LRH=values), at_of(2, 7), causal=False
  )
  close(w.dense('out_proj', o), z[f'{case}/y'], **TIGHT)


@pytest.mark.parametrize('memory', [0, 3])
@pytest.mark.parametrize('mode', ['full', 'causal'])
def test_transformer_xl_of_xlnet(memory, mode):
  z, case = golden('transformer_xl_relative'), f'xlnet_mem{memory}'
  w = Weights(z, 'xlnet/w:')
  # The library puts time before the batch.
  q = np.einsum('tbd,dnh->btnh', z[f'{case}/h'], w('q'))
  k, v = (np.einsum('sbd,dnh->bsnh', z[f'{case}/kv'], w(part)) for part in 'kv')
  weights = dict(position_LDNH=w('r'), u_NH=w('r_w_bias'), v_NH=w('r_r_bias'))
  probs, o = softmax_and_output(q, k, v, TransformerXl(), weights, causal=mode == 'causal')
  close(probs.transpose(2, 3, 0, 1), z[f'{case}_{mode}/prob_ijbn'], **TIGHT)
  close(heads(o, 4).swapaxes(0, 1), z[f'{case}_{mode}/vec'], **TIGHT)


def test_transformer_xl_of_the_conformer():
  z = golden('transformer_xl_relative')
  w = Weights(z, 'conformer/w:')
  q, k, v = (heads(w.dense(f'linear_{part}', z['conformer/x']), 4) for part in 'qkv')
  # The library interleaves sines and cosines: reorder the rows of its projection.
  position = w('linear_pos.weight').T[[0, 2, 4, 6, 1, 3, 5, 7]].reshape(8, 2, 4)
  weights = dict(position_LDNH=position, u_NH=w('pos_bias_u'), v_NH=w('pos_bias_v'))
  probs, o = softmax_and_output(q, k, v, TransformerXl(), weights, causal=False)
  close(probs, z['conformer/probs'], **TIGHT)
  close(w.dense('linear_out', o), z['conformer/y'], **TIGHT)
