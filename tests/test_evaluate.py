"""Evaluation: each protocol scores the bytes it says, and the numbers are those of plain loops."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import data, evaluate, report, sharding
from posjax.encodings import At, Chain
from posjax.encodings.learned import Learned
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.errors import UserError
from posjax.models import transformer
from posjax.models.pattern import Pattern
from posjax.models.transformer import Transformer
from tests import test_train

STREAM = np.random.default_rng(0).integers(0, 257, 200).astype(np.int32)


def make_model(encoding):
  sizes = dict(dim=16, layers=1, heads=2, kv_heads=1, head_dim=8, hidden=16)
  model = Transformer(pattern=Pattern((encoding,)), vocabulary=data.VOCABULARY, **sizes)
  model = model.clone(pattern=Pattern((encoding.with_dims(model.dims),)))
  return model, transformer.init(model, jax.random.key(0))


def nats_by_hand(model, params, tokens, rng=None):
  """-log p of each next token of one window, from the softmax of the logits."""
  T = len(tokens) - 1
  row = jnp.arange(T)[None]
  logits, _ = model.apply(
    {'params': params}, tokens[None, :-1], At(row[..., None], row, jnp.zeros_like(row)), rng=rng
  )
  p = np.asarray(jax.nn.softmax(logits[0].astype(jnp.float32)), np.float64)
  return -np.log(p[np.arange(T), tokens[1:]])


@pytest.mark.parametrize('length', [1, 7, 16, 49])
def test_non_overlapping_windows_have_each_target_once_in_order(length):
  texts = [STREAM[:50], STREAM[50:52], STREAM[52:200]]
  windows, weights = evaluate.non_overlapping(texts, length)
  expected = [
    text[start : start + length + 1]
    for text in texts for start in range(0, len(text) - length, length)
  ]
  np.testing.assert_array_equal(windows, expected)
  assert weights.all() and weights.shape == (len(windows), length)
  assert len(windows) == 49 // length + 1 // length + 147 // length


@pytest.mark.parametrize('length', [8, 16, 64])
def test_sliding_windows_score_the_same_bytes_at_each_length(length):
  texts = [STREAM[:145], STREAM[10:79], STREAM[100:200]]  # the second is too short
  windows, weights = evaluate.sliding(texts, length, stride=8, first=64, count=14)
  assert windows.shape == (14, length + 1)
  scored = np.r_[STREAM[65 : 65 + 80], STREAM[165 : 165 + 32]]
  np.testing.assert_array_equal(windows[:, 1:][weights], scored)
  # The context is that of the same text, the first token of the first window its first.
  ends = [*range(72, 145, 8), *range(172, 197, 8)]
  np.testing.assert_array_equal(windows, [STREAM[end - length : end + 1] for end in ends])


def test_a_part_of_the_sliding_windows_is_spread_over_all():
  texts = [STREAM[:120], STREAM[:150]]
  every, _ = evaluate.sliding(texts, 16, stride=8, first=64, count=16)
  part, _ = evaluate.sliding(texts, 16, stride=8, first=64, count=6)
  np.testing.assert_array_equal(part, every[[0, 3, 6, 9, 12, 15]])


def test_scores_are_those_of_one_window_after_the_other():
  model, params = make_model(Rope())
  mesh = sharding.make_mesh((-1, 1, 1))
  windows, weights = evaluate.non_overlapping([STREAM], 16)
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


@pytest.mark.slow
def test_each_call_draws_the_positions_of_its_rows():
  model, params = make_model(Chain((Randomize(places=64), Rope())))
  mesh = sharding.make_mesh((-1, 1, 1))
  windows = np.stack([STREAM[:9]] * 20)
  with jax.set_mesh(mesh):
    scored = evaluate.Scorer(model, mesh, tokens_per_call=16, seed=3)(params, windows)
  parts = sharding.row_parts(mesh)
  rows = -(-2 // parts) * parts  # 16 tokens are two rows, and each device has as many
  for start in range(0, 20, rows):
    by_hand = nats_by_hand(
      model, params, windows[start], jax.random.fold_in(jax.random.key(3), start)
    )
    for nats in scored[start : start + rows]:
      np.testing.assert_allclose(nats, by_hand, rtol=1e-4, atol=1e-5)


def held_out_of(folder, *overrides, texts, encoding='learned'):
  """A corpus of text files and what is held out of it."""
  for number, text in enumerate(texts):
    (folder / f'{number}.txt').write_bytes(text)
  settings = (
    f'data.corpus=text:{folder}/*.txt', 'train.length=16', 'evaluate.stride=8',
    'evaluate.windows=4', 'evaluate.tokens=512', 'checkpoint.tokens=100',
  )
  config, _, _ = config_lib.load(encoding, [f'--config.{o}' for o in (*settings, *overrides)])
  corpus = data.load(**config.data)
  return corpus, evaluate.hold_out(config, corpus)


def random_texts(*sizes):
  """Texts without newlines, in which a few bytes in a row say where they are."""
  rng = np.random.default_rng(0)
  return [bytes(rng.integers(11, 256, size, np.uint8)) for size in sizes]


TEXTS = random_texts(30_000, 16_000, 16_000, 900, 16_000, 500)


def targets(windows, weights):
  return [bytes(row[w].astype(np.uint8)) for row, w in zip(windows[:, 1:], weights, strict=True)]


@pytest.mark.parametrize('multiples, scored', [('1,2,4,8', 512), ('1,2,3,5', 480)])
def test_all_lengths_score_the_same_bytes_of_the_test_split(tmp_path, multiples, scored):
  texts = random_texts(30_000, 16_000, 16_000)
  corpus, held_out = held_out_of(tmp_path, f'evaluate.multiples={multiples}', texts=texts)
  documents = corpus.documents('test')
  for protocol, windows_of in held_out.test.items():
    assert [*windows_of] == [16 * int(multiple) for multiple in multiples.split(',')]
    together = {b''.join(targets(*windows)) for windows in windows_of.values()}
    [text] = together
    assert len(text) == {'non_overlapping': scored, 'sliding': 4 * 8}[protocol]
    assert f'the same {len(text)} bytes at each length' in held_out.protocols[protocol]
    for length, (windows, weights) in windows_of.items():
      assert windows.shape == (len(windows), length + 1)
      for window, last in zip(windows, targets(windows, weights), strict=True):
        # The whole context is of one document, and what is scored is the end of it.
        inside = bytes(window[window != data.BOS].astype(np.uint8))
        assert sum(inside in document for document in documents) == 1
        assert inside.endswith(last) and len(inside) >= length


def test_each_document_is_scored_alike(tmp_path):
  settings = ('evaluate.multiples=1,2', 'checkpoint.tokens=96')
  corpus, held_out = held_out_of(tmp_path, *settings, texts=TEXTS)
  windows = targets(*held_out.test['non_overlapping'][16])
  counts = [sum(text in document for text in windows) for document in corpus.documents('test')]
  # 512 bytes, 64 in turn: 45 and 25 of the short ones, and 128, 128, 122 and 64, cut to 32s.
  assert sorted(counts[i] for i in (0, 1, 2, 4)) == [4, 6, 8, 8]
  assert sum(map(len, windows)) == 128 + 128 + 96 + 64 + 64 - 1
  assert held_out.scored == {'documents': 6, 'of': 6}

  validation = targets(*held_out.validation)
  documents = corpus.documents('validation')
  assert [sum(text in document for text in validation) for document in documents] == [1] * 6


def test_no_window_slides_twice(tmp_path):
  settings = ('evaluate.windows=999', 'evaluate.multiples=1,2')
  _, held_out = held_out_of(tmp_path, *settings, texts=random_texts(40_000))
  windows = held_out.test['sliding'][16]
  assert len({*targets(*windows)}) == len(windows[0]) == (512 - 32) // 8
  assert held_out.protocols['sliding'].endswith('(60 of 60 windows)')


def test_of_many_documents_some_are_scored(tmp_path):
  _, held_out = held_out_of(tmp_path, 'evaluate.multiples=1,2', texts=random_texts(*[2000] * 12))
  assert held_out.scored == {'documents': 8, 'of': 12}  # 512 bytes of 64 each
  # Of short ones at the end, those that no window reaches do not count: 8 x 20 bytes, 7 after 128.
  short = random_texts(*[400] * 8)
  _, held_out = held_out_of(tmp_path, 'evaluate.multiples=1,4', texts=[*short, *[b''] * 4])
  assert held_out.scored == {'documents': 7, 'of': 8}
  few = [*random_texts(4000, 500), *[b''] * 10]
  _, held_out = held_out_of(tmp_path, 'evaluate.multiples=1,4', texts=few)
  assert held_out.scored == {'documents': 1, 'of': 2}  # 25 bytes are no window of 64


def test_all_runs_score_the_same_text(tmp_path):
  _, one = held_out_of(tmp_path, texts=TEXTS)
  _, two = held_out_of(tmp_path, 'seed=1', 'model.dim=32', texts=TEXTS, encoding='rope')
  assert one.protocols == two.protocols
  jax.tree.map(np.testing.assert_array_equal, one.test, two.test)
  jax.tree.map(np.testing.assert_array_equal, one.validation, two.validation)


@pytest.mark.parametrize(
  ('overrides', 'size', 'message'),
  [
    (('evaluate.tokens=100',), 16_000, 'evaluate.tokens: the test split gives 100 bytes and 136 '
     'are needed; raise evaluate.tokens, lower evaluate.multiples'),
    # More tokens would not help.
    (('evaluate.multiples=1,16',), 3000, 'evaluate.tokens: the test split gives 150 bytes and 264 '
     'are needed; lower evaluate.multiples or train.length, or take a larger corpus'),
    (('checkpoint.tokens=15',), 16_000, 'checkpoint.tokens: the validation split gives 15 bytes'),
  ],
)
def test_too_little_text_is_refused_before_anything_is_compiled(tmp_path, overrides, size, message):
  with pytest.raises(UserError, match=message):
    held_out_of(tmp_path, *overrides, texts=random_texts(size))


def test_a_length_beyond_the_limit_is_a_marked_cell(tmp_path):
  settings = ('encoding.learned.length=32',)
  _, held_out = held_out_of(tmp_path, *settings, texts=TEXTS)
  model, params = make_model(Learned(length=32))
  mesh = sharding.make_mesh((-1, 1, 1))
  with jax.set_mesh(mesh):
    scorer = evaluate.Scorer(model, mesh, tokens_per_call=128, seed=0)
    result = evaluate.evaluate(scorer, params, held_out, model.pattern.limit)
    scores = {
      protocol: (scorer(params, windows_of[32][0]), windows_of[32][1])  # the longest it can read
      for protocol, windows_of in held_out.test.items()
    }
    # Validation counts bytes alone, where short documents are joined by BOS.
    (tmp_path / 'short').mkdir()
    settings = ('evaluate.multiples=1', 'encoding.learned.length=32')
    _, short = held_out_of(tmp_path / 'short', *settings, texts=random_texts(*[200] * 40))
    windows, counts = short.validation
    assert np.count_nonzero(~counts) == np.count_nonzero(windows[:, 1:] == data.BOS) > 5
    nats = scorer(params, windows)
    assert evaluate.validate(scorer, params, short) == pytest.approx(nats[counts].mean(), rel=1e-12)
  numbers = [(row['length'], row['non_overlapping'] is None) for row in result['lengths']]
  assert numbers == [(16, False), (32, False), (64, True), (128, True)]
  assert [row['sliding'] is None for row in result['lengths']] == [False, False, True, True]
  for protocol, (nats, counts) in scores.items():
    assert result['lengths'][1][protocol] == pytest.approx(nats[counts].mean())
  nats, counts = scores['non_overlapping']
  by_position = [nats[counts[:, t], t].mean() for t in range(32)]
  np.testing.assert_allclose(result['by_position'], by_position)
  table = report.table(result).splitlines()
  assert table[4].split() == '64 4x beyond 32 positions beyond 32 positions'.split()
  bits = result['lengths'][0]['sliding'] / np.log(2)
  assert f'{bits:.3f}' == table[2].split()[-1]
  assert result['protocols']['sliding'] == (
    'sliding, stride 8, the same 32 bytes at each length (4 of 32 windows)'
  )
  assert table[-1] == f'scored: {held_out.scored["documents"]} of 6 documents'


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_as_it_was_when_it_was_made(tmp_path):
  """By one that draws positions, and cannot read the longest windows."""
  path = tmp_path / 'numbers.txt'
  path.write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
  settings = (
    'seed=3', 'encoding.layers=randomize+learned', 'encoding.randomize.places=24',
    'encoding.learned.length=24', 'train.steps=4', 'checkpoint.every=2',
  )
  config = test_train.small(path, *settings, name='learned')
  test_train.run(config, tmp_path / 'run')
  evaluation = tmp_path / 'run/evaluation.json'
  made = json.loads(evaluation.read_text())
  assert [row['non_overlapping'] is None for row in made['lengths']] == [False, True]

  def again(checkpoint):
    arguments = dict(name='small', checkpoint=checkpoint, command='command')
    evaluate.run(config, tmp_path / 'run', **arguments)
    return json.loads(evaluation.read_text())

  del made['data']  # the order of training batches
  assert again('newest') == made | {'trained_on': made['corpus'], 'read_with': {}}
  path.write_text(path.read_text() + '\nthe end')
  earlier = again('2')
  assert (earlier['step'], earlier['trained_on']) == (2, made['corpus'])
  assert earlier['corpus'] == str(data.load(**config.data))
  assert earlier['lengths'][0]['non_overlapping'] > made['lengths'][0]['non_overlapping']
