"""Blocks of rows in evaluation.json: their weighted mean is the record's value, at every length."""

import jax
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import evaluate, state
from tests import test_evaluate


class Scorer:
  """Scores rows with outputs that are right for most targets, and otherwise random."""

  limit = None

  def __init__(self, task):
    self.task = task

  def __call__(self, params, batch):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(*batch.targets.shape, self.task.vocabulary)).astype(np.float32)
    rows, answers = np.nonzero(rng.uniform(size=batch.targets.shape) < 0.8)
    outputs[rows, answers, batch.targets[rows, answers]] += 8
    found = self.task.metrics(outputs, batch)
    return jax.tree.map(lambda x: np.asarray(x, np.float64), found)


def evaluated(*overrides):
  config, _, _ = config_lib.load('nope', [f'--config.{override}' for override in overrides])
  setup = state.setup(config)
  return evaluate.evaluate(Scorer(setup.task), None, setup.open())


def check_means(result):
  """Returns the number of records whose value is the weighted mean of their blocks."""
  for record in result['records']:
    pairs = result['blocks'][record['test']][str(record['length'])][record['metric']]
    values, weights = np.array(pairs).T
    assert np.sum(values * weights) / np.sum(weights) == pytest.approx(record['value'], rel=1e-12)
    assert 0 < record['value'] < 4
  return len(result['records'])


@pytest.mark.parametrize('sizes', [(40_000,), (30_000, 16_000, 900, 16_000, 500)])
def test_the_mean_of_the_blocks_of_text(tmp_path, sizes):
  """Also of documents that do not fill the blocks evenly."""
  for number, text in enumerate(test_evaluate.random_texts(*sizes)):
    (tmp_path / f'{number}.txt').write_bytes(text)
  result = evaluated(
    f'data.corpus=text:{tmp_path}/*.txt', 'train.length=16', 'evaluate.multiples=1,2,4',
    'task.text.stride=8', 'task.text.windows=50', 'task.text.tokens=2048',
    'task.text.validation_tokens=100',
  )
  assert check_means(result) == 2 * 3 * 2  # tests, lengths, metrics


def test_the_mean_of_the_blocks_of_copy():
  """Exact match has a weight for each row, token accuracy one for each token."""
  result = evaluated(
    'task.name=copy', 'train.length=10', 'evaluate.multiples=1,1.6', 'task.copy.rows=100',
  )
  lengths = result['blocks']['copy']
  assert [*lengths] == ['10', '16']
  assert {*lengths['10']} == {'exact match', 'token accuracy', 'nats/token'}
  assert check_means(result) == 2 * 3
  values, rows = zip(*lengths['16']['exact match'], strict=True)
  assert [*rows] == 4 * [7] + 12 * [6] and len({*values}) > 3
  assert [w for _, w in lengths['16']['token accuracy']] == [7 * n for n in rows]  # 7 letters


class Bytes(Scorer):
  """A metric that tells which bytes are in a block: the mean of their ids."""

  def __call__(self, params, batch):
    return {'nats/byte': (batch.targets.astype(np.float64), batch.weights)}


def test_a_block_has_the_same_bytes_at_every_length(tmp_path):
  """If the longest rows fill the blocks evenly, as 131,072 bytes do at up to 8,192."""
  texts = test_evaluate.random_texts(100_000)
  settings = ('evaluate.multiples=1,2,4', 'task.text.tokens=4097', 'task.text.windows=64')
  _, opened = test_evaluate.opened_of(tmp_path, *settings, texts=texts)
  rows = {n: len(batch.weights) for n, batch in opened.tests['non-overlapping'].rows.items()}
  assert rows == {16: 256, 32: 128, 64: 64}
  config, _, _ = config_lib.load('nope', [])
  found = evaluate.evaluate(Bytes(state.setup(config).task), None, opened)['blocks']
  for test, weight in (('non-overlapping', 256), ('sliding', 64 // 16 * 8)):
    first, *others = (found[test][str(n)]['nats/byte'] for n in rows)
    assert len({value for value, _ in first}) == 16 and {w for _, w in first} == {weight}
    for other in others:
      np.testing.assert_allclose(other, first, rtol=1e-12)


def test_few_rows_have_a_block_each():
  result = evaluated(
    'task.name=copy', 'train.length=10', 'evaluate.multiples=1', 'task.copy.rows=5',
  )
  blocks = result['blocks']['copy']['10']['exact match']
  assert [weight for _, weight in blocks] == 5 * [1] and check_means(result) == 3
