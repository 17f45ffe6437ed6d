"""Span answers: located tokens, the loss within an example, the best pair, and F1."""

import collections
import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax.batch import Batch, Stream
from posjax.data import BOS, SEP, pipeline
from posjax.data.tokenizer import BYTES
from posjax.errors import UserError
from posjax.tasks.span import Span, best

FIELDS = 'context', 'question', 'answer', 'start'
TASK = Span(rows=8, form='encoder')
RECORDS = Span(source='records', rows=8, form='encoder')


def text(tokens):
  return bytes(np.asarray(tokens, np.uint8)).decode()


def split(example):
  """Returns question, context and answer of an example, as text."""
  at = [*example.x].index(SEP)
  first, last = example.targets
  return text(example.x[1:at]), text(example.x[at + 1 :]), text(example.x[first : last + 1])


@pytest.mark.parametrize(('length', 'longest'), [(19, 1), (26, 1), (27, 2), (64, 6)])
def test_the_answer_is_the_word_after_the_letter_asked_for(length, longest):
  opened = TASK.open(None, length, [length])
  sizes = collections.Counter()
  for example in (opened.train[i][0] for i in range(50)):
    question, context, answer = split(example)
    words = re.findall('([A-H])([a-z]+)', context)
    assert ''.join(map(''.join, words)) == context and len({*dict(words)}) == len(words) == 8
    assert answer == dict(words)[question] and example.x[0] == BOS and len(example.x) <= length
    sizes.update(len(word) for _, word in words)
  assert {*sizes} == {*range(1, longest + 1)}
  floor = opened.tests['words'].floors[length]
  assert floor == {'exact match': 1 / 8, 'F1': 1 / 8}


def packed(rng, rows=3, examples=3, tokens=5):
  """Returns outputs and a packed batch whose last example is padding."""
  segments = np.repeat(np.arange(examples), tokens)
  segments = np.where(segments == examples - 1, -1, segments)[None].repeat(rows, axis=0)
  targets = np.sort(rng.integers(tokens, size=(rows, examples, 2)), axis=-1).astype(np.int32)
  weights = np.arange(examples * 2) < (examples - 1) * 2
  outputs = rng.normal(size=(rows, examples * tokens, 2)).astype(np.float32)
  stream = Stream(segments, None, segments)
  return outputs, Batch(stream, targets.reshape(rows, -1), np.tile(weights, (rows, 1)))


def test_the_loss_is_over_the_tokens_of_the_example():
  outputs, batch = packed(np.random.default_rng(0))
  loss, grad = jax.value_and_grad(
    lambda x: jnp.sum(TASK.loss(x, batch) * batch.weights)
  )(jnp.asarray(outputs))
  want = 0.0
  for b in range(3):
    for u in range(4):
      own = outputs[b, 5 * (u // 2) : 5 * (u // 2) + 5, u % 2].astype(np.float64)
      want += np.log(np.exp(own).sum()) - own[batch.targets[b, u]]
  assert float(loss) == pytest.approx(want, rel=1e-6)
  assert np.isfinite(grad).all() and not np.asarray(grad)[:, 10:].any()
  assert np.asarray(grad)[:, :10].all()


def test_the_prediction_is_the_best_pair():
  rng = np.random.default_rng(0)
  first, last = rng.normal(size=(2, 6, 4, 7)).astype(np.float32)
  found = best(jnp.asarray(first), jnp.asarray(last))
  backward = 0
  for b in range(6):
    for e in range(4):
      pairs = [(i, j) for j in range(7) for i in range(j + 1)]
      want = max(pairs, key=lambda pair: first[b, e, pair[0]] + last[b, e, pair[1]])  # noqa: B023
      assert (int(found[0][b, e]), int(found[1][b, e])) == want
      backward += first[b, e].argmax() > last[b, e].argmax()
  assert backward  # of some, the ends that are best alone are no span


def test_metrics_equal_squad_where_all_tokens_differ():
  rng = np.random.default_rng(2)
  outputs, batch = packed(rng, rows=40)
  found = TASK.metrics(jnp.asarray(outputs), batch)
  scores, true = TASK.scores(jnp.asarray(outputs), batch)
  pairs = np.stack(best(scores[:, :, 0], scores[:, :, 1]), axis=-1)
  exact, shares = [], []
  for both in zip(pairs[:, :2].reshape(-1, 2), true[:, :2].reshape(-1, 2), strict=True):
    answers = [collections.Counter(range(first, last + 1)) for first, last in both]
    same = sum((answers[0] & answers[1]).values())
    precision, recall = same / sum(answers[0].values()), same / sum(answers[1].values())
    exact.append(answers[0] == answers[1])
    shares.append(2 * precision * recall / (precision + recall) if same else 0)
  mean = lambda name: float(np.average(found[name][0], weights=found[name][1]))
  assert mean('exact match') == pytest.approx(np.mean(exact)) and 0 < np.mean(exact) < 1
  assert mean('F1') == pytest.approx(np.mean(shares)) and np.mean(shares) > np.mean(exact)


def squad(path, records):
  path.write_text('\n'.join(json.dumps(dict(zip(FIELDS, r, strict=True))) for r in records))
  return dict(corpus=f'jsonl:{path}', fields=FIELDS)


GOOD = [(f'Zoë met Jürgen in {year}.', 'Whom?', ['Jürgen', 'met'], [8, 4]) for year in range(40)]


def test_an_answer_is_located_by_its_characters(tmp_path):
  opened = RECORDS.open(squad(tmp_path / 'squad.jsonl', GOOD), 24, [24, 48])
  assert len(opened.train) == 36
  for (example,) in opened.train:
    question, context, answer = split(example)
    assert (question, answer) == ('Whom?', 'Jürgen') and 'Zoë met Jürgen' in context
  short, long = (opened.tests['questions'].rows[n] for n in (24, 48))
  assert (short.targets == long.targets).all() and short.stream.x.shape[1] == 24


def test_an_answer_covers_all_tokens_that_contain_its_bytes():
  """With tokens of two bytes, an answer's first and last token may hold other bytes as well."""
  pairs = dataclasses.replace(
    BYTES, lengths=np.full(261, 2), encode=lambda own: np.arange(-(-len(own) // 2), dtype=np.int32)
  )
  task = Span(tokenizer=pairs, form='encoder')
  for begin, end, want in ((0, 2, (0, 0)), (1, 3, (0, 1)), (2, 5, (1, 2)), (5, 6, (2, 2))):
    _, targets, *_ = task.example(b'qqqq', b'abcdefg', begin, end)
    assert tuple(targets) == (4 + want[0], 4 + want[1])  # after BOS, two tokens and SEP


def test_questions_that_cannot_be_answered_are_left_out(tmp_path):
  """No answer, and answers whose end is cut off by one token."""
  record = *GOOD[0][:2], 'Jürgen', '8'
  assert RECORDS.of_record(record, 7 + 16).targets.tolist() == [16, 22]
  assert RECORDS.of_record(record, 7 + 15) is None
  assert RECORDS.of_record(('a', 'b', (), ()), 20) is None
  records = (GOOD + [('a', 'b', [], [])] * 40) * 3
  opened = RECORDS.open(squad(tmp_path / 'squad.jsonl', records), 24, [24])
  test = opened.tests['questions']
  count = len(test.rows[24].targets)
  assert 100 < len(opened.train) < 120 and 0 < count < 8
  want = f'{count} questions, of {count} whose answer lies within 24 tokens, of 12'
  assert test.title == want


@pytest.mark.parametrize(('record', 'length', 'message'), [
  (('a b', 'q', 'b', 1), 24, "the answer 'b' does not start at character 1"),
  (('a b', 'q', 'b', 'x'), 24, "the answer 'b' does not start at character x"),
  (GOOD[0], 22, 'no answer of the train split lies within 22 tokens; raise train.length'),
])
def test_records_that_do_not_fit_are_refused(tmp_path, record, length, message):
  with pytest.raises(UserError, match=message):
    RECORDS.open(squad(tmp_path / 'squad.jsonl', [record] * 6), length, [length])


def test_targets_of_a_packed_row_are_located_in_the_row():
  opened = TASK.open(None, 64, [64])
  batch = next(pipeline.batches(
    opened.train, name='made', length=64, answers=TASK.answers(64), batch=8, seed=0
  ))
  examples = batch.stream.segment_ids.max(axis=1) + 1
  assert (batch.weights.sum(axis=1) == 2 * examples).all() and examples.max() > 1
  _, true = TASK.scores(jnp.zeros((8, 64, 2)), batch)
  for x, segments, ends in zip(batch.stream.x, batch.stream.segment_ids, true, strict=True):
    for e in range(segments.max() + 1):
      _, question, _, *context = x[segments == e]
      words = dict(re.findall('([A-H])([a-z]+)', text(context)))
      first, last = np.asarray(ends[e])
      assert text(x[first : last + 1]) == words[chr(question)]
