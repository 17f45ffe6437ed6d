"""Relative keys, DeBERTa, TUPE, PaTH and PaTH-FoX: numbers of other code, and identities."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import encodings
from posjax.attention import attend
from posjax.dims import Dims
from posjax.encodings import Bound, Chain, Encoding, Positions
from posjax.encodings.deberta import Deberta, bucket, project
from posjax.encodings.fox import Fox
from posjax.encodings.path import Path, Reflections
from posjax.encodings.path_fox import PathFox
from posjax.encodings.shaw import Shaw
from posjax.encodings.t5 import T5
from posjax.encodings.transformer_xl import TransformerXl
from posjax.encodings.tupe import Tupe
from tests.encodings.test_identities_relative import solve
from tests.oracles import attention as oracle
from tests.oracles import deberta
from tests.support.problem import DIMS, close, draw
from tests.support.stored import derived, golden

pytestmark = pytest.mark.usefixtures('float64')


# Layers of public libraries: projected queries, keys and values of all heads, [B, T, N, H].


def linear(x, weight, bias=0):
  return np.float64(x) @ np.float64(weight).T + bias


def heads(x_BTD):
  """Splits into two heads."""
  return x_BTD.reshape(*x_BTD.shape[:2], 2, -1)


def normalized(x, weight, bias):
  x = x - x.mean(-1, keepdims=True)
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def check_layer(encoding, weights, q, k, v, y, probs, valid_BT=True):
  """Asserts that the oracle, `reference` and consecutive blocks give `y` and `probs`."""
  B, T, N, H = q.shape
  dims = Dims(D=N * H, N=N, K=N, H=H)
  weights = jax.tree.map(np.float64, weights)
  segment_ids = np.broadcast_to(valid_BT, (B, T)) - 1
  order = np.arange(T)[None]
  at = Positions(jnp.asarray(order[..., None]), order, jnp.asarray(segment_ids), consecutive=True)
  # Identity columns appended to the values return the softmax itself.
  v = np.concatenate([v, np.broadcast_to(np.eye(T)[None, :, None], (B, T, N, T))], axis=-1)

  @jax.jit
  def solve(weights, q, k, v):
    bound = Bound(encoding.with_dims(dims), weights)
    ends = bound.query(at.attach(q * dims.scale, v)), bound.key(at.attach(k, v))
    how = dict(causal=False, window=0, block=5)
    return [attend(*ends, bound, **how, implementation=way) for way in ('reference', 'blockwise')]

  module = importlib.import_module(f'tests.oracles.{encodings.name_of(encoding)}')
  order = np.broadcast_to(order, (B, T))
  seen = oracle.visible(order, order, segment_ids, segment_ids, False, 0)
  args = encodings.arguments(encoding)
  want = module.attend(q * dims.scale, k, v, order, order, seen, args, weights)
  for o in (want, *solve(weights, q, k, v)):
    o = np.asarray(o)[segment_ids >= 0]
    close(o[..., :H].reshape(len(o), -1), y[segment_ids >= 0], 1e-11, 1e-12)
    close(o[..., H:], probs.swapaxes(1, 2)[segment_ids >= 0], 1e-11, 1e-12)


def case(name, prefix):
  """Returns the arrays of a case of a file, and its weights."""
  z = {k.removeprefix(prefix): v for k, v in golden(name).items() if k.startswith(prefix)}
  return z, {k.removeprefix('w:'): v for k, v in z.items() if k.startswith('w:')}


@pytest.mark.parametrize('kind', ['relative_key', 'relative_key_query'])
def test_relative_keys_of_bert(kind):
  z, w = case('legacy_bert_relative_key', f'{kind}/')
  q, k, v = (
    heads(linear(z['x'], w[f'{part}.weight'], w[f'{part}.bias']))
    for part in ('query', 'key', 'value')
  )
  # Nine distances on either side; the library's rows are indexed by query minus key.
  encoding = Shaw(clip=9, with_values=False, with_queries=kind == 'relative_key_query')
  weights = dict(keys_LRH=w['distance_embedding.weight'][::-1])
  check_layer(encoding, weights, q, k, v, z['y'], z['probs'], z['additive_mask'][:, 0, 0] == 0)


# Version 2 of DeBERTa: the encoding, and the names of its projections of positions.
VERSION_2 = {
  ('deberta_v2', 'c2p_p2c'): (Deberta(max_distance=32), ('pos_key_proj', 'pos_query_proj')),
  ('deberta_v2', 'share_b4'): (Deberta(max_distance=16, buckets=4), ('key_proj', 'query_proj')),
  **{
    ('deberta_terms', f'v2 {terms}'):
      (Deberta(max_distance=8, buckets=4, terms=terms), ('pos_key_proj', 'pos_query_proj'))
    for terms in ('c2p+p2c', 'c2p', 'p2c')
  },
}


def positions_of(w, table, key, query):
  """Returns the weights of `Deberta` that exist."""
  weights = dict(table_RD=table)
  project = lambda name: w[f'{name}.weight'].T.reshape(8, 2, 4)
  if f'{key}.weight' in w:
    weights |= dict(key_LDKH=project(key))
  if f'{query}.weight' in w:
    weights |= dict(query_LDNH=project(query), query_bias_LNH=w[f'{query}.bias'].reshape(2, 4))
  return weights


@pytest.mark.parametrize('file, name', VERSION_2)
def test_deberta_version_2(file, name):
  encoding, names = VERSION_2[file, name]
  z, w = case(file, f'{name}/')
  x = z['x'] if 'x' in z else golden(file)['x']
  q, k, v = (
    heads(linear(x, w[f'{part}_proj.weight'], w[f'{part}_proj.bias']))
    for part in ('query', 'key', 'value')
  )
  weights = positions_of(w, z['rel_embeddings'], *names)
  valid_BT = z['mask'][:, 0, 0] if 'mask' in z else True
  check_layer(encoding, weights, q, k, v, z['y'], z['probs'], valid_BT)


@pytest.mark.parametrize('terms', ['c2p+p2c', 'c2p', 'p2c'])
def test_deberta_version_1(terms):
  z, w = case('deberta_terms', f'v1 {terms}/')
  # A head's query, key and value are adjacent; the keys have no bias.
  qkv_BT2R = heads(linear(golden('deberta_terms')['x'], w['in_proj.weight']))
  q, k, v = np.split(qkv_BT2R, 3, axis=-1)
  q, v = q + w['q_bias'].reshape(2, 4), v + w['v_bias'].reshape(2, 4)
  weights = positions_of(w, z['rel_embeddings'], 'pos_proj', 'pos_q_proj')
  check_layer(Deberta(max_distance=4, terms=terms), weights, q, k, v, z['y'], z['probs'])


@pytest.mark.parametrize('file, buckets, max_distance', [
  ('deberta_v2', 32, 128), ('deberta_v2', 10, 60), ('deberta_terms', 256, 512),
])
def test_deberta_buckets(file, buckets, max_distance):
  z, name = golden(file), f'log_bucket/b{buckets}_m{max_distance}'
  distance = z['log_bucket/rel']
  got = bucket(distance, buckets, max_distance)
  assert [deberta.log_bucket(int(d), buckets, max_distance) for d in distance] == [*got]
  # The library's logarithm is float32 in one of them, and float64 in the other.
  for want in (z[key] for key in (name, f'{name}_f64') if key in z):
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize('name, arguments', [
  ('absolute', {}), ('relative', dict(buckets=8, max_distance=12, bidirectional=True)),
])
def test_tupe(name, arguments):
  """The authors' code; its layer also projects the output."""
  z, w = case('tupe', f'{name}/')
  attention = lambda part: w[f'layers.0.self_attn.{part}']
  qkv = linear(z['x'], attention('in_proj_weight'), attention('in_proj_bias'))
  q, k, v = map(heads, np.split(qkv, 3, axis=-1))
  # Rows of positions follow the row for [CLS]; the next row also gives theta of keys.
  table = normalized(np.float64(w['pos.weight']), w['pos_ln.weight'], w['pos_ln.bias'])[1:]
  query, key = (w[f'pos_{part}_linear.weight'].T.reshape(8, 2, 4) for part in 'qk')
  first = [np.einsum('D,DNH->NH', table[0], weight) for weight in (query, key)]
  theta = (first[0] * first[1]).sum(-1) / np.sqrt(2 * 4)
  weights = dict(table_RD=table, query_DNH=query, key_DNH=key, theta_N=theta)
  if name == 'relative':
    buckets = w['relative_attention_bias.weight']  # the last bucket is for [CLS]
    weights |= dict(relative=dict(table_RN=buckets[:8]), theta_N=theta + buckets[8])
  encoding = Tupe(length=20, untie_first=True, **arguments)
  # Inverts the output projection.
  o = np.linalg.solve(attention('out_proj.weight'), (z['y'] - attention('out_proj.bias')).mT).mT
  derived('tupe', f'{name}/o', o)
  check_layer(encoding, weights, q, k, v, o, z['probs'])


@pytest.mark.parametrize('kind, name', [(Path, 'o'), (PathFox, 'o_gated')])
def test_path_of_the_authors(kind, name):
  """The reference of their library, with given reflections and gates."""
  z = golden('path_naive')
  q, k, v, w, beta, log_f = (np.float64(z[part]) for part in ('q', 'k', 'v', 'w', 'beta', 'log_f'))
  encoding = kind().with_dims(Dims(D=4, N=4, K=2, H=8))
  weights, scale = encoding.init_weights(jax.random.key(0)), encoding.dims.scale
  order = np.arange(37)[None]
  at = Positions(jnp.asarray(order[..., None]), order, np.zeros_like(order))
  features = Reflections(w, beta)
  if name == 'o_gated':
    features = features, scale * log_f

  @jax.jit
  def solve(q, k, v, features):
    bound = Bound(encoding, weights)
    ends = at.attach(q * scale, v, features), at.attach(k, v, features)
    return [attend(*ends, bound, implementation='blockwise', block=block) for block in (8, 64)]

  for o in solve(q, k, v, features):
    close(o, z[name], 1e-11, 1e-12)


# Identities.


class Scaled(Encoding):
  """Scales queries, and adds a row that is not scaled."""

  factor: float = 1.0
  row: tuple[float, ...] = (0.0,) * DIMS.H

  def query(self, q):
    return q.replace(h=self.factor * q.h + self.dims.scale * jnp.asarray(self.row))


class QuietFox(Fox):
  """FoX with gates divided by sqrt(H)."""

  def features(self, x_BTD, at, state):
    log_f, state = super().features(x_BTD, at, state)
    return self.dims.scale * log_f, state


def same(encoding, weights, other, other_weights, **changed):
  """Asserts equal outputs and gradients; `changed` replaces weights of `encoding`."""
  inputs = draw(encoding)
  got, by_blocks = solve(encoding, dict(inputs, weights=inputs['weights'] | weights), **changed)
  want, _ = solve(other, dict(inputs, weights=other_weights))
  close((got, by_blocks), (want, want[0]), 1e-12, 1e-12)


def test_equal_relative_vectors_are_added_to_all_queries():
  row = np.arange(1.0, 9.0)
  encoding = Shaw(clip=3, with_values=False, with_queries=True)
  same(encoding, {}, Scaled(row=tuple(row)), {}, keys_LRH=row)


def test_deberta_without_positions_is_scaled_attention():
  nothing = dict(key_LDKH=0, query_LDNH=0, query_bias_LNH=0)
  same(Deberta(max_distance=5), {}, Scaled(3**-0.5), {}, **nothing)


def test_deberta_with_c2p_only_is_scaled_shaw():
  """If the heads share their projection."""
  encoding = Deberta(max_distance=4, terms='c2p')
  weights = draw(encoding)['weights']
  weights['key_LDKH'] = weights['key_LDKH'].at[:, 1].set(weights['key_LDKH'][:, 0])
  rows = project(weights['table_RD'], weights['key_LDKH'], jnp.float64)[:, 0]
  # Shaw's rows go by key minus query, -4 to 4; DeBERTa's last row is for 3 and 4.
  shaw = {'shaw': dict(keys_LRH=jnp.concatenate([rows, rows[-1:]])[::-1])}
  same(encoding, weights, Chain((Scaled(2**-0.5), Shaw(clip=4, with_values=False))), shaw)


def test_deberta_mirrored_reads_its_table_backwards():
  """If no distance is clipped: row k + r is used for -r, and row 0 never."""
  encoding = Deberta(max_distance=20, terms='p2c', mirrored=True)
  weights = draw(encoding)['weights']
  backwards = weights | dict(table_RD=jnp.roll(weights['table_RD'][::-1], 1, axis=0))
  same(encoding, weights, Deberta(max_distance=20, terms='p2c'), backwards)


def test_tupe_without_positions_is_scaled_attention():
  same(Tupe(length=64), {}, Scaled(2**-0.5), {}, query_DNH=0)


def test_tupe_with_buckets_is_a_chain_with_t5():
  rule = dict(buckets=8, max_distance=40)
  encoding = Tupe(length=64, **rule)
  own = draw(encoding)['weights']
  parts = {'tupe': {k: v for k, v in own.items() if k != 'relative'}, 't5': own['relative']}
  same(encoding, own, Chain((Tupe(length=64), T5(**rule))), parts)


def test_transformer_xl_untied_is_the_same_in_each_layer():
  own = draw(TransformerXl(untied=True))['weights']
  tied = {name.replace('_LNH', '_NH'): weight for name, weight in own.items()}
  same(TransformerXl(untied=True), own, TransformerXl(), tied)


@pytest.mark.slow
def test_path_fox_is_a_chain_with_gates_of_the_same_scale():
  encoding = PathFox(rank=5)
  own = draw(encoding)['weights']
  parts = {'path': {k: v for k, v in own.items() if k != 'fox'}, 'test_relative': own['fox']}
  same(encoding, own, Chain((Path(rank=5), QuietFox())), parts)
