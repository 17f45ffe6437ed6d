"""Evaluation: each protocol scores the bytes it says, and the numbers are those of plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import command_line, data, evaluate, report, sharding, transformer
from posjax import config as config_lib
from posjax.encodings import At
from posjax.encodings.learned import Learned
from posjax.encodings.rope import Rope
from posjax.pattern import Pattern
from posjax.transformer import Transformer

STREAM = np.random.default_rng(0).integers(0, 257, 200).astype(np.int32)


def make_model(encoding):
  sizes = dict(dim=16, layers=1, heads=2, kv_heads=1, head_dim=8, hidden=16)
  model = Transformer(pattern=Pattern((encoding,)), vocabulary=data.VOCABULARY, **sizes)
  model = model.clone(pattern=Pattern((encoding.with_dims(model.dims),)))
  return model, transformer.init(model, jax.random.key(0))


def nats_by_hand(model, params, tokens):
  """-log p of each next token of one window, from the softmax of the logits."""
  T = len(tokens) - 1
  row = jnp.arange(T)[None]
  logits, _ = model.apply(
    {'params': params}, tokens[None, :-1], At(row[..., None], row, jnp.zeros_like(row))
  )
  p = np.asarray(jax.nn.softmax(logits[0].astype(jnp.float32)), np.float64)
  return -np.log(p[np.arange(T), tokens[1:]])


@pytest.mark.parametrize('length', [1, 7, 16, 199])
def test_non_overlapping_windows_have_each_target_once_in_order(length):
  windows, weights = evaluate.non_overlapping(STREAM, length)
  np.testing.assert_array_equal(windows[:, 1:].ravel(), STREAM[1 : 1 + windows.size - len(windows)])
  np.testing.assert_array_equal(windows[:, :-1].ravel(), STREAM[: windows.size - len(windows)])
  assert weights.all() and len(windows) == 199 // length


@pytest.mark.parametrize('length', [8, 16, 64])
def test_sliding_windows_score_the_same_bytes_at_each_length(length):
  windows, weights = evaluate.sliding(STREAM[:145], length, stride=8, first=64, count=10)
  assert windows.shape == (10, length + 1)
  np.testing.assert_array_equal(windows[:, 1:][weights], STREAM[65 : 65 + 80])
  for window in windows:
    start = int(np.flatnonzero((np.lib.stride_tricks.sliding_window_view(
      STREAM, length + 1) == window).all(1))[0])
    assert start >= 64 - length


def test_a_part_of_the_sliding_windows_is_spread_over_all():
  every, _ = evaluate.sliding(STREAM, 16, stride=8, first=64, count=16)
  part, _ = evaluate.sliding(STREAM, 16, stride=8, first=64, count=6)
  np.testing.assert_array_equal(part, every[[0, 3, 6, 9, 12, 15]])


def test_scores_are_those_of_one_window_after_the_other():
  model, params = make_model(Rope())
  mesh = sharding.make_mesh((-1, 1, 1))
  windows, weights = evaluate.non_overlapping(STREAM, 16)
  with jax.set_mesh(mesh):
    scored = evaluate.Scorer(model, mesh, tokens_per_call=40, seed=0)(params, windows)
  by_hand = np.stack([nats_by_hand(model, params, window) for window in windows])
  np.testing.assert_allclose(scored, by_hand, rtol=1e-4, atol=1e-5)
  is_byte = windows[:, 1:] != data.BOS
  assert not is_byte.all()  # the stream holds a BOS, else the next line shows nothing
  assert evaluate.mean(by_hand, weights & is_byte) == pytest.approx(by_hand[is_byte].mean())
  position = np.array([by_hand[is_byte[:, t], t].mean() for t in range(16)])
  np.testing.assert_allclose(evaluate.by_position(by_hand, is_byte), position)
  none_at_3 = is_byte & (np.arange(16) != 3)
  assert evaluate.by_position(by_hand, none_at_3)[3] is None


def held_out_of(path, text, *overrides):
  path.write_bytes(text)
  settings = (
    f'data.corpus=text:{path}', 'train.length=16', 'encoding.learned.length=32',
    'evaluate.stride=8', 'evaluate.windows=4', 'evaluate.tokens=512', 'checkpoint.tokens=100',
  )
  config, _, _ = command_line.load('learned', [f'--config.{o}' for o in (*settings, *overrides)])
  corpus = data.load(**config.data)
  return corpus, evaluate.hold_out(config, corpus)


TEXT = bytes(STREAM[STREAM < 256].astype(np.uint8)) * 80


@pytest.mark.parametrize('multiples', ['1,2,4,8', '1,2,3,5'])
def test_all_lengths_score_the_same_bytes(tmp_path, multiples):
  corpus, held_out = held_out_of(
    tmp_path / 'text.txt', TEXT, f'evaluate.multiples={multiples}'
  )
  text = corpus.documents('test')[0]
  longest = 16 * int(multiples[-1])
  for protocol, first in (('non_overlapping', 0), ('sliding', longest)):
    for windows, weights in held_out.test[protocol].values():
      scored = bytes(windows[:, 1:][weights].astype(np.uint8))
      if protocol == 'non_overlapping':
        assert scored == text[: 480 if longest == 80 else 512]
      else:
        steps = np.linspace(1, (512 - first) // 8, 4).astype(int) - 1
        assert scored == b''.join(text[first + 8 * n : first + 8 * n + 8] for n in steps)
    assert f'the same {len(scored)} bytes' in held_out.protocols[protocol]


@pytest.mark.parametrize(
  ('overrides', 'text', 'message'),
  [
    (('evaluate.tokens=100',), TEXT, 'evaluate.tokens: the test split gives 100 bytes and 136'),
    ((), TEXT[:3000], 'evaluate.tokens: the test split gives 222 bytes and 264'),
    (('checkpoint.tokens=15',), TEXT, 'checkpoint.tokens: the validation split gives 15 bytes'),
  ],
)
def test_too_little_text_is_refused_before_anything_is_compiled(tmp_path, overrides, text, message):
  overrides = overrides or ('evaluate.multiples=1,16',)
  with pytest.raises(config_lib.UserError, match=message):
    held_out_of(tmp_path / 'text.txt', text, *overrides)


def test_a_length_beyond_the_limit_is_a_marked_cell(tmp_path):
  _, held_out = held_out_of(tmp_path / 'text.txt', TEXT)
  model, params = make_model(Learned(length=32))
  mesh = sharding.make_mesh((-1, 1, 1))
  with jax.set_mesh(mesh):
    scorer = evaluate.Scorer(model, mesh, tokens_per_call=128, seed=0)
    result = evaluate.evaluate(scorer, params, held_out, model.pattern.limit)
  numbers = [(row['length'], row['non_overlapping'] is None) for row in result['lengths']]
  assert numbers == [(16, False), (32, False), (64, True), (128, True)]
  assert [row['sliding'] is None for row in result['lengths']] == [False, False, True, True]
  assert len(result['by_position']) == 32
  table = report.table(result).splitlines()
  assert table[4].split() == '64 4x beyond 32 positions beyond 32 positions'.split()
  bits = result['lengths'][0]['sliding'] / np.log(2)
  assert f'{bits:.3f}' == table[2].split()[-1]
  spread = 'sliding, stride 8, the same 32 bytes at each length (4 of 48 windows)'
  assert result['protocols']['sliding'] == spread
