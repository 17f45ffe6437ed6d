"""Evaluation: each protocol scores the right bytes, and results equal those of plain loops."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import data, evaluate, run_summary, sharding, state
from posjax.data.windows import non_overlapping, sliding
from posjax.encodings import Chain, Positions
from posjax.encodings.learned import Learned
from posjax.encodings.randomize import Randomize
from posjax.encodings.rope import Rope
from posjax.errors import UserError
from posjax.models import transformer
from posjax.models.pattern import Pattern
from posjax.models.transformer import Transformer
from posjax.tasks.text import Text
from tests import test_train

STREAM = np.random.default_rng(0).integers(0, 257, 200).astype(np.int32)


def make_model(encoding):
  sizes = dict(dim=16, layers=1, heads=2, kv_heads=1, head_dim=8, hidden=16)
  model = Transformer(pattern=Pattern((encoding,)), vocabulary=data.TEXT, **sizes)
  model = model.clone(pattern=Pattern((encoding.with_dims(model.dims),)))
  return model, transformer.init(model, jax.random.key(0))


def make_mesh():
  return sharding.make_mesh(data=-1, fsdp=1, seq=1, tensor=1)


def scorer_of(model, mesh, **settings):
  return evaluate.Scorer(Text(), model, mesh, **{'seed': 0} | settings)


def nats_by_hand(model, params, tokens, rng=None):
  """Returns -log p of each next token of one window, from the softmax of the logits."""
  T = len(tokens) - 1
  row = jnp.arange(T)[None]
  logits, _ = model.apply(
    {'params': params}, tokens[None, :-1],
    Positions(row[..., None], row, jnp.zeros_like(row)), rng=rng,
  )
  p = np.asarray(jax.nn.softmax(logits[0].astype(jnp.float32)), np.float64)
  return -np.log(p[np.arange(T), tokens[1:]])


@pytest.mark.parametrize('length', [1, 7, 16, 49])
def test_non_overlapping_windows_have_each_target_once_in_order(length):
  texts = [STREAM[:50], STREAM[50:52], STREAM[52:200]]
  windows, weights = non_overlapping(texts, length)
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
  windows, weights = sliding(texts, length, stride=8, first=64, count=14)
  assert windows.shape == (14, length + 1)
  scored = np.r_[STREAM[65 : 65 + 80], STREAM[165 : 165 + 32]]
  np.testing.assert_array_equal(windows[:, 1:][weights], scored)
  # The context comes from the same text, from its first token on.
  ends = [*range(72, 145, 8), *range(172, 197, 8)]
  np.testing.assert_array_equal(windows, [STREAM[end - length : end + 1] for end in ends])


def test_a_subset_of_sliding_windows_is_evenly_spaced():
  texts = [STREAM[:120], STREAM[:150]]
  every, _ = sliding(texts, 16, stride=8, first=64, count=16)
  part, _ = sliding(texts, 16, stride=8, first=64, count=6)
  np.testing.assert_array_equal(part, every[[0, 3, 6, 9, 12, 15]])


def test_batched_scores_equal_scores_window_by_window():
  model, params = make_model(Rope())
  mesh = make_mesh()
  windows, weights = non_overlapping([STREAM], 16)
  with jax.set_mesh(mesh):
    batch = Text().batch(windows, weights)
    found = scorer_of(model, mesh, tokens_per_call=40)(params, batch)
  assert [*found] == ['nats/byte']
  scored, counted = found['nats/byte']
  by_hand = np.stack([nats_by_hand(model, params, window) for window in windows])
  np.testing.assert_allclose(scored, by_hand, rtol=1e-4, atol=1e-5)
  is_byte = windows[:, 1:] != data.BOS
  assert not is_byte.all()  # the stream holds a BOS, so the next line tests something
  np.testing.assert_array_equal(counted, weights & is_byte)
  assert evaluate.mean(by_hand, counted) == pytest.approx(by_hand[is_byte].mean())
  position = np.array([by_hand[is_byte[:, t], t].mean() for t in range(16)])
  by_position = evaluate.by_position(Text(), {'nats/byte': (by_hand, is_byte)}, by_hand.shape[1])
  assert [*by_position] == ['nats/byte', 'bits/byte']
  np.testing.assert_allclose(by_position['nats/byte'], position)
  np.testing.assert_allclose(by_position['bits/byte'], position / np.log(2))
  none_at_3 = is_byte & (np.arange(16) != 3)
  by_position = evaluate.by_position(Text(), {'nats/byte': (by_hand, none_at_3)}, by_hand.shape[1])
  assert by_position['nats/byte'][3] is by_position['bits/byte'][3] is None


@pytest.mark.slow
def test_each_call_draws_the_positions_of_its_rows():
  model, params = make_model(Chain((Randomize(places=64), Rope())))
  mesh = make_mesh()
  windows = np.stack([STREAM[:9]] * 20)
  batch = Text().batch(windows, np.ones((20, 8), bool))
  with jax.set_mesh(mesh):
    scored, _ = scorer_of(model, mesh, tokens_per_call=16, seed=3)(params, batch)['nats/byte']
  parts = sharding.row_parts(mesh)
  rows = -(-2 // parts) * parts  # 16 tokens are two rows; each device has equally many
  for start in range(0, 20, rows):
    by_hand = nats_by_hand(
      model, params, windows[start], jax.random.fold_in(jax.random.key(3), start)
    )
    for nats in scored[start : start + rows]:
      np.testing.assert_allclose(nats, by_hand, rtol=1e-4, atol=1e-5)


def opened_of(folder, *overrides, texts, encoding='learned'):
  """Returns a corpus of text files, and the task's data from it."""
  for number, text in enumerate(texts):
    (folder / f'{number}.txt').write_bytes(text)
  settings = (
    f'data.corpus=text:{folder}/*.txt', 'train.length=16', 'task.text.stride=8',
    'task.text.windows=4', 'task.text.tokens=512', 'task.text.validation_tokens=100',
  )
  config, _, _ = config_lib.load(encoding, [f'--config.{o}' for o in (*settings, *overrides)])
  return data.load(**state.source(config)), state.setup(config).open()


def random_texts(*sizes):
  """Texts without newlines, in which a few consecutive bytes identify their position."""
  rng = np.random.default_rng(0)
  return [bytes(rng.integers(11, 256, size, np.uint8)) for size in sizes]


TEXTS = random_texts(30_000, 16_000, 16_000, 900, 16_000, 500)


def targets(batch):
  """Returns the scored bytes of each row."""
  rows = zip(batch.targets, batch.weights, strict=True)
  return [bytes(row[weights].astype(np.uint8)) for row, weights in rows]


@pytest.mark.parametrize('multiples, scored', [('1,2,4,8', 512), ('1,2,3,5', 480)])
def test_all_lengths_score_the_same_bytes_of_the_test_split(tmp_path, multiples, scored):
  texts = random_texts(30_000, 16_000, 16_000)
  corpus, opened = opened_of(tmp_path, f'evaluate.multiples={multiples}', texts=texts)
  documents = corpus.documents('test')
  assert [*opened.tests] == ['non-overlapping', 'sliding']
  for protocol, test in opened.tests.items():
    assert [*test.rows] == [16 * int(multiple) for multiple in multiples.split(',')]
    together = {b''.join(targets(rows)) for rows in test.rows.values()}
    [text] = together
    assert len(text) == {'non-overlapping': scored, 'sliding': 4 * 8}[protocol]
    assert f'the same {len(text)} bytes at each length' in test.title
    for length, rows in test.rows.items():
      inputs = rows.stream.x
      assert inputs.shape == rows.targets.shape == rows.weights.shape == (len(inputs), length)
      np.testing.assert_array_equal(inputs[:, 1:], rows.targets[:, :-1])
      windows = np.c_[inputs, rows.targets[:, -1]]
      for window, last in zip(windows, targets(rows), strict=True):
        # The context is from one document, and its end is scored.
        inside = bytes(window[window != data.BOS].astype(np.uint8))
        assert sum(inside in document for document in documents) == 1
        assert inside.endswith(last) and len(inside) >= length


def test_each_document_is_scored_alike(tmp_path):
  settings = ('evaluate.multiples=1,2', 'task.text.validation_tokens=96')
  corpus, opened = opened_of(tmp_path, *settings, texts=TEXTS)
  windows = targets(opened.tests['non-overlapping'].rows[16])
  counts = [sum(text in document for text in windows) for document in corpus.documents('test')]
  # 512 bytes in shares of 64: 45 and 25 of short documents; 128, 128, 122 and 64, in 32s.
  assert sorted(counts[i] for i in (0, 1, 2, 4)) == [4, 6, 8, 8]
  assert sum(map(len, windows)) == 128 + 128 + 96 + 64 + 64 - 1
  assert opened.scored == 'scored: 6 of 6 documents'

  validation = targets(opened.validation)
  documents = corpus.documents('validation')
  assert [sum(text in document for text in validation) for document in documents] == [1] * 6


def test_sliding_windows_are_distinct(tmp_path):
  settings = ('task.text.windows=999', 'evaluate.multiples=1,2')
  _, opened = opened_of(tmp_path, *settings, texts=random_texts(40_000))
  sliding = opened.tests['sliding']
  windows = targets(sliding.rows[16])
  assert len({*windows}) == len(windows) == (512 - 32) // 8
  assert sliding.title.endswith('(60 of 60 windows)')


def test_some_of_many_documents_are_scored(tmp_path):
  _, opened = opened_of(tmp_path, 'evaluate.multiples=1,2', texts=random_texts(*[2000] * 12))
  assert opened.scored == 'scored: 8 of 12 documents'  # 512 bytes of 64 each
  # Short documents at the end that no window reaches are not counted: 8 x 20 bytes, 7 after 128.
  short = random_texts(*[400] * 8)
  _, opened = opened_of(tmp_path, 'evaluate.multiples=1,4', texts=[*short, *[b''] * 4])
  assert opened.scored == 'scored: 7 of 8 documents'
  few = [*random_texts(4000, 500), *[b''] * 10]
  _, opened = opened_of(tmp_path, 'evaluate.multiples=1,4', texts=few)
  assert opened.scored == 'scored: 1 of 2 documents'  # 25 bytes do not fill a window of 64


def test_all_runs_score_the_same_text(tmp_path):
  _, one = opened_of(tmp_path, texts=TEXTS)
  _, two = opened_of(tmp_path, 'seed=1', 'model.dim=32', texts=TEXTS, encoding='rope')
  for name, test in one.tests.items():
    assert (test.title, test.floors) == (two.tests[name].title, two.tests[name].floors)
    jax.tree.map(np.testing.assert_array_equal, test.rows, two.tests[name].rows)
  assert one.tests.keys() == two.tests.keys() and one.sha256 == two.sha256
  jax.tree.map(np.testing.assert_array_equal, one.validation, two.validation)


@pytest.mark.parametrize(
  ('overrides', 'size', 'message'),
  [
    (('task.text.tokens=100',), 16_000, 'task.text.tokens: the test split gives 100 bytes, but 136 '
     'are needed; raise task.text.tokens, lower evaluate.multiples'),
    # More tokens would not change this.
    (('evaluate.multiples=1,16',), 3000, 'task.text.tokens: the test split gives 150 bytes, but '
     '264 are needed; lower evaluate.multiples or train.length, or use a larger corpus'),
    (('task.text.validation_tokens=15',), 16_000,
     'task.text.validation_tokens: the validation split gives 15 bytes'),
  ],
)
def test_too_little_text_is_refused_before_anything_is_compiled(tmp_path, overrides, size, message):
  with pytest.raises(UserError, match=message):
    opened_of(tmp_path, *overrides, texts=random_texts(size))


def test_a_length_beyond_the_limit_is_a_marked_cell(tmp_path):
  settings = ('encoding.learned.length=32',)
  _, opened = opened_of(tmp_path, *settings, texts=TEXTS)
  model, params = make_model(Learned(length=32))
  mesh = make_mesh()
  with jax.set_mesh(mesh):
    scorer = scorer_of(model, mesh, tokens_per_call=128)
    result = evaluate.evaluate(scorer, params, opened)
    scores = {  # at the longest length that the model can read
      name: scorer(params, test.rows[32])['nats/byte'] for name, test in opened.tests.items()
    }
    # Validation counts only bytes, because BOS joins short documents.
    (tmp_path / 'short').mkdir()
    settings = ('evaluate.multiples=1', 'encoding.learned.length=32')
    _, short = opened_of(tmp_path / 'short', *settings, texts=random_texts(*[200] * 40))
    rows, counts = short.validation, short.validation.weights
    assert np.count_nonzero(~counts) == np.count_nonzero(rows.targets == data.BOS) > 5
    nats, _ = scorer(params, rows)['nats/byte']
    assert evaluate.validate(scorer, params, rows) == pytest.approx(nats[counts].mean(), rel=1e-12)
  assert (result['limit'], result['unit'], result['shown']) == (32, 'byte', ['bits/byte'])
  values = {
    (record['test'], record['metric'], record['length']): record['value']
    for record in result['records']
  }
  metrics = ('nats/byte', 'bits/byte')
  assert [*values] == [
    (test, metric, length)
    for test in opened.tests for length in (16, 32, 64, 128) for metric in metrics
  ]
  for (_, _, length), value in values.items():
    assert (value is None) == (length > 32)
  assert [record['floor'] for record in result['records']] == [None] * len(values)
  for test, (nats, weights) in scores.items():
    counts = weights == 1
    mean = nats[counts].mean()
    assert values[test, 'nats/byte', 32] == pytest.approx(mean)
    assert values[test, 'bits/byte', 32] == pytest.approx(mean / np.log(2))
  nats, weights = scores['non-overlapping']
  by_position = np.array([nats[weights[:, t] == 1, t].mean() for t in range(32)])
  found = result['by_position']['non-overlapping']
  np.testing.assert_allclose(found['nats/byte'], by_position)
  np.testing.assert_allclose(found['bits/byte'], by_position / np.log(2))
  # With sliding windows only the last bytes count.
  counted = [value is not None for value in result['by_position']['sliding']['nats/byte']]
  assert counted == [False] * 24 + [True] * 8
  table = run_summary.table(result).splitlines()
  assert table[0].split() == ['non-overlapping', 'sliding']
  assert table[1].split() == ['length', *metrics, *metrics]
  assert table[4].split() == ['64', '4x', *4 * ['beyond', '32']]
  bits = values['sliding', 'nats/byte', 16] / np.log(2)
  assert f'{bits:.3f}' == table[2].split()[-1]
  assert result['tests']['sliding'] == (
    'sliding, stride 8, the same 32 bytes at each length (4 of 32 windows)'
  )
  assert table[6:] == [*result['tests'].values(), opened.scored]
  assert result['scored'] == opened.scored


@pytest.mark.slow
def test_evaluating_a_checkpoint_repeats_the_evaluation_of_its_run(tmp_path):
  """With an encoding that draws positions and cannot read the longest windows."""
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

  def nats_of(evaluated):
    return {
      record['length']: record['value'] for record in evaluated['records']
      if (record['test'], record['metric']) == ('non-overlapping', 'nats/byte')
    }

  assert [value is None for value in nats_of(made).values()] == [False, True]

  def again(checkpoint):
    arguments = dict(name='small', checkpoint=checkpoint, command='command')
    evaluate.run(config, tmp_path / 'run', **arguments)
    return json.loads(evaluation.read_text())

  del made['data']  # the order of training batches
  assert again('newest') == made | {'trained_on': made['corpus'], 'read_with': {}}
  path.write_text(path.read_text() + '\nthe end')
  earlier = again('2')
  assert (earlier['step'], earlier['trained_on']) == (2, made['corpus'])
  assert earlier['corpus'] == str(data.load(**state.source(config)))
  assert nats_of(earlier)[16] > nats_of(made)[16]
