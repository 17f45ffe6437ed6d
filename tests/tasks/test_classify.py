"""Classification: pooled outputs of packed texts, macro-F1, the guess, and refused records."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from posjax.batch import Batch, Stream
from posjax.data import BOS, pipeline
from posjax.data.records import deal
from posjax.errors import UserError
from posjax.tasks.classify import Classify

LABELS = ['earn', 'acq', 'trade']
TASK = Classify(classes=3, rows=8, form='encoder')


def corpus(path, records, fields=('text', 'label')):
  lines = (json.dumps(dict(zip(fields, record, strict=True))) for record in records)
  path.write_text('\n'.join(lines))
  return dict(corpus=f'jsonl:{path}', fields=fields)


@pytest.fixture
def texts(tmp_path):
  """60 texts, of 3 to 62 bytes; half are 'earn'. The text starts with its label."""
  labels = [LABELS[i % 4 % 3] for i in range(60)]
  records = [(f'{label[0]}é'.ljust(i + 2, 'x'), label) for i, label in enumerate(labels)]
  return corpus(tmp_path / 'texts.jsonl', records)


def test_rows_hold_the_start_of_a_text_and_its_label(texts):
  opened = TASK.open(texts, 8, [8, 32])
  short, long = (opened.tests['texts'].rows[n] for n in (8, 32))
  assert (short.stream.x[:, 0] == BOS).all() and (long.stream.x[:, :8] == short.stream.x).all()
  for x, segments, (label,) in zip(
    long.stream.x, long.stream.segment_ids, long.targets, strict=True
  ):
    text = bytes(x[1:][segments[1:] == 0].astype(np.uint8)).decode('utf-8', 'ignore')
    assert text[:2] == f'{sorted(LABELS)[label][0]}é' and set(text[2:]) <= {'x'}
  assert (short.stream.segment_ids == 0).sum() < (long.stream.segment_ids == 0).sum()


def test_targets_belong_to_the_segments_of_a_packed_row(texts):
  opened = TASK.open(texts, 64, [64])
  batches = pipeline.batches(
    opened.train, name='texts', length=64, answers=TASK.answers(64), batch=4, seed=0
  )
  packed = 0
  for _ in range(5):
    batch = next(batches)
    for x, segments, targets, weights in zip(
      batch.stream.x, batch.stream.segment_ids, batch.targets, batch.weights, strict=True
    ):
      assert weights.sum() == segments.max() + 1
      packed += weights.sum() > 1
      for u in range(int(weights.sum())):
        assert chr(x[segments == u][1]) == sorted(LABELS)[targets[u]][0]
  assert packed


def drawn(rng, rows=6, texts=4, tokens=3):
  """Returns outputs and a packed batch; the last text of each row is padding."""
  segments = np.repeat(np.arange(texts), tokens)
  segments = np.where(segments == texts - 1, -1, segments)[None].repeat(rows, axis=0)
  targets = rng.integers(3, size=(rows, texts)).astype(np.int32)
  weights = np.arange(texts) < texts - 1
  outputs = rng.normal(size=(rows, texts * tokens, 3)).astype(np.float32)
  batch = Batch(Stream(segments, None, segments), targets, np.tile(weights, (rows, 1)))
  return outputs, batch


def test_the_loss_is_the_cross_entropy_of_the_mean_output():
  outputs, batch = drawn(np.random.default_rng(0))
  loss = np.asarray(TASK.loss(jnp.asarray(outputs), batch))
  for b in range(6):
    for u in range(3):
      logits = outputs[b, 3 * u : 3 * u + 3].astype(np.float64).mean(axis=0)
      want = np.log(np.exp(logits).sum()) - logits[batch.targets[b, u]]
      assert loss[b, u] == pytest.approx(want, rel=1e-5)
  assert np.isfinite(loss).all()


@pytest.mark.parametrize('most', [3, 2])
def test_accuracy_and_macro_f1_equal_those_of_scikit_learn(most):
  """With `most` = 2, the last class is neither a label nor a prediction."""
  metrics = pytest.importorskip('sklearn.metrics')
  outputs, batch = drawn(np.random.default_rng(1))
  if most == 2:
    outputs[..., 2] = -9
    batch = batch.replace(targets=batch.targets % 2)
  found = TASK.metrics(jnp.asarray(outputs), batch)
  summary = TASK.summary({k: float(np.average(v, weights=w)) for k, (v, w) in found.items()})
  predicted = outputs.reshape(6, 4, 3, 3).mean(axis=2).argmax(axis=-1)[batch.weights]
  true = batch.targets[batch.weights]
  assert {*true} == {*range(most)}
  assert summary['accuracy'] == pytest.approx(metrics.accuracy_score(true, predicted))
  want = metrics.f1_score(true, predicted, average='macro')
  assert summary['macro F1'] == pytest.approx(want)


def test_the_guess_is_the_most_frequent_label_of_training(texts):
  opened = TASK.open(texts, 8, [8])
  rows, floor = opened.tests['texts'].rows[8], opened.tests['texts'].floors[8]
  right = np.mean(rows.targets == sorted(LABELS).index('earn'))
  assert 0 < right < 1 and floor['accuracy'] == pytest.approx(right)
  classes = len({*rows.targets[:, 0].tolist()})
  assert floor['macro F1'] == pytest.approx(2 * right / (1 + right) / classes)


@pytest.mark.parametrize(('changes', 'record', 'message'), [
  ({'fields': ('text',)}, None, 'data.fields = text: this task reads 2 fields: --config.data.fiel'),
  ({}, ('a', 'late'), 'classes = 3: .* has 4 labels; set --config.task.classify.classes=4'),
  ({}, (['a', 'b'], 'earn'), 'the field text has a list; it must be a string'),
])
def test_records_that_do_not_fit_are_refused(tmp_path, changes, record, message):
  records = [(f'{i}', LABELS[i % 3]) for i in range(30)] + ([record] if record else [])
  with pytest.raises(UserError, match=message):
    TASK.open(corpus(tmp_path / 'texts.jsonl', records) | changes, 8, [8])


def test_a_label_that_only_the_test_has_gets_a_number(tmp_path):
  labels = [LABELS[i % 2] for i in range(30)]
  (only,) = deal(30)['test']
  labels[only] = 'late'
  records = corpus(tmp_path / 'texts.jsonl', [(f'{i}', label) for i, label in enumerate(labels)])
  assert TASK.open(records, 8, [8]).tests['texts'].rows[8].targets == [[2]]
