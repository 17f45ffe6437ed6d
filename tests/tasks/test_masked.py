"""Masked language modeling: covered tokens of training and held-out text, and its metrics."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import run as run_lib
from posjax import state, tasks
from posjax.data import pipeline
from posjax.data.tokenizer import BYTES
from posjax.errors import UserError
from posjax.tasks.masked import Masked

LENGTHS = [16, 32, 48]
TASK = Masked(tokens=960, validation_tokens=96)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  folder = tmp_path_factory.mktemp('texts')
  for number in range(3):
    lines = '\n'.join(f'{number}: line {i} follows line {i - 1}' for i in range(1, 400))
    (folder / f'{number}.txt').write_text(lines)
  return {'corpus': f'text:{folder}/*.txt'}


@pytest.fixture(scope='module')
def opened(corpus):
  return TASK.open(corpus, 16, LENGTHS)


def read(train, seed=0, length=16):
  return pipeline.batches(train, name='m', length=length, answers=length, batch=4, seed=seed)


def test_the_same_tokens_are_covered_at_each_length(opened, corpus):
  rows = opened.tests['masked'].rows
  flat = [
    [x.reshape(-1) for x in (rows[n].stream.x, rows[n].targets, rows[n].weights)] for n in LENGTHS
  ]
  for other in flat[1:]:
    jax.tree.map(np.testing.assert_array_equal, flat[0], other)
  assert rows[16].targets.shape == (60, 16)
  x, targets, weights = flat[0]
  # Each of ten rows of the least common multiple, 96, has round(0.15 * 96) covered tokens.
  assert (weights.reshape(10, 96).sum(axis=1) == 14).all()
  assert (x == BYTES.mask).any() and weights[x == BYTES.mask].all()
  assert (x[~weights] == targets[~weights]).all() and targets.max() < BYTES.size
  again = TASK.open(corpus, 16, LENGTHS[:1] + [96]).tests['masked'].rows
  jax.tree.map(np.testing.assert_array_equal, rows[16], again[16])


def test_the_guess_is_the_most_frequent_covered_token(opened):
  test = opened.tests['masked']
  counts = collections.Counter()
  for targets, weights in zip(test.rows[16].targets, test.rows[16].weights, strict=True):
    counts.update(targets[weights].tolist())
  (_, most), = counts.most_common(1)
  assert test.floors[32] == {'token accuracy': pytest.approx(most / counts.total())}
  assert f'the same {counts.total()} covered tokens' in test.title


def test_training_text_is_complete_and_only_covered_tokens_have_a_loss(opened):
  run, most = read(opened.train), 0
  for _ in range(20):
    batch = next(run)
    x, covered = batch.stream.x, batch.weights
    assert (covered <= (batch.stream.segment_ids >= 0)).all()
    assert (x[~covered] == batch.targets[~covered]).all() and covered[x == BYTES.mask].all()
    assert batch.targets.max() < BYTES.size
    most += (covered & (x == BYTES.mask)).sum()
    for row, ids in enumerate(batch.stream.segment_ids):  # a segment covers a share of its own
      for segment in range(ids.max() + 1):
        own = ids == segment
        assert covered[row, own].sum() == max(1, round(0.15 * own.sum()))
  assert most > 50


def test_masked_batches_resume_bitwise(opened):
  run, other = read(opened.train), read(opened.train, seed=1)
  assert (next(run).stream.x != next(other).stream.x).any()
  for _ in range(3):
    next(run)
  saved = run.get_state()
  want = [next(run) for _ in range(5)]
  resumed = read(opened.train)
  resumed.set_state(saved)
  for batch in want:
    jax.tree.map(np.testing.assert_array_equal, batch, next(resumed))


def test_words_of_held_out_text_are_covered_as_a_whole(corpus):
  task = Masked(words=True, share=0.3, tokens=960, validation_tokens=96)
  rows = task.open(corpus, 96, [96]).tests['masked'].rows[96]
  for targets, weights in zip(rows.targets, rows.weights, strict=True):
    of_word = [bytes([byte]).isalnum() for byte in targets]
    same = np.array(of_word[1:]) & np.array(of_word[:-1])
    assert (weights[1:][same] == weights[:-1][same]).all() and weights.any()


def test_tokens_need_not_be_bytes(corpus, monkeypatch, tmp_path):
  """Each byte is two ids, its upper and its lower half."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  halves = dataclasses.replace(
    BYTES, size=16, sha256='0' * 64,
    encode=lambda text: np.array([half for byte in text for half in divmod(byte, 16)], np.int32),
    decode=lambda ids: bytes((ids[0::2] * 16 + ids[1::2]).astype(np.uint8)),
  )
  task = Masked(tokens=960, validation_tokens=96, tokenizer=halves)
  assert task.vocabulary == 21
  made = task.open(corpus, 16, [16])
  rows = made.tests['masked'].rows[16]
  assert (rows.stream.x == 19).any() and rows.stream.x.max() == 19 and rows.targets.max() < 16
  first = [halves.decode(document[0]) for document in made.train.documents]
  assert first == [b'0: line ', b'1: line ', b'2: line ']
  assert next(read(made.train)).targets.max() < 16


def test_metrics_are_means_over_covered_tokens(opened):
  batch = jax.tree.map(lambda x: x[:4], opened.tests['masked'].rows[16])
  outputs = np.random.default_rng(0).normal(size=(4, 16, BYTES.all)).astype(np.float32)
  outputs[:, ::2] += 9 * np.eye(BYTES.all)[batch.targets[:, ::2]]
  nats, right = [], []
  for row, column in np.argwhere(batch.weights):
    logits, target = outputs[row, column].astype(float), batch.targets[row, column]
    nats.append(np.log(np.exp(logits).sum()) - logits[target])
    right.append(logits.argmax() == target)
  found = TASK.metrics(jnp.asarray(outputs), batch)
  mean = lambda name: float(np.average(found[name][0], weights=found[name][1]))
  assert 0 < np.mean(right) < 1
  assert mean('token accuracy') == pytest.approx(np.mean(right))
  assert mean('nats/token') == pytest.approx(np.mean(nats), rel=1e-5)


def test_hashes_depend_on_arguments_that_change_the_examples(corpus, opened):
  sha256 = lambda **change: Masked(validation_tokens=96, **change).open(corpus, 16, [16]).sha256
  assert sha256(tokens=96) == opened.sha256 != sha256(tokens=96, share=0.2)


@pytest.mark.parametrize(('argument', 'message'), [
  ('share=1', 'task.masked.share = 1.0: must be in (0, 1)'),
  ('tokens=0', 'task.masked.tokens = 0: must be positive'),
])
def test_wrong_arguments_are_refused(argument, message):
  line = f'--config=tasks/masked --config.task.masked.{argument}'
  with pytest.raises(UserError) as raised:
    state.build(run_lib.parse(['posjax', *line.split()]).config)
  assert str(raised.value) == message


def test_words_need_ids_that_stand_for_bytes():
  tokenizer = dataclasses.replace(BYTES, lengths=None)
  with pytest.raises(UserError, match=r'^task\.masked\.words = True: the ids of data\.tokenizer'):
    tasks.build('masked', 16, tokenizer=tokenizer, masked={'words': True})


def test_too_little_held_out_text_is_refused(corpus):
  with pytest.raises(UserError) as raised:
    Masked(tokens=40, validation_tokens=96).open(corpus, 16, [16, 64])
  assert str(raised.value) == (
    'task.masked.tokens: the test split gives 40 tokens, but 64 are needed; raise it, lower '
    'evaluate.multiples or train.length, or use a larger corpus'
  )
