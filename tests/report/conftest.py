"""Sweeps with invented results, and a page about two of them."""

import shutil

import pytest

from posjax.report import __main__ as report
from tests.report import fabricate
from tests.report.fabricate import CLAIMS, LOSSES, MORE, VALUES


@pytest.fixture(scope='session')
def topic(tmp_path_factory):
  """Returns the folder of a sweep with claims, learning rates, and a hostile arm name."""
  folder = tmp_path_factory.mktemp('topic')
  experiment = fabricate.experiment(
    folder, arms=VALUES, claims=CLAIMS, rates=(0.003, 0.01, 0.02), question='A <i> & B: is it so?'
  )
  values = VALUES | {'learned': {64: VALUES['learned'][64], 128: None}}
  return fabricate.sweep(experiment, folder / 'topic', values, losses=LOSSES)


@pytest.fixture(scope='session')
def other(tmp_path_factory):
  """Returns the folder of another sweep, with two more claims."""
  folder = tmp_path_factory.mktemp('other')
  arms = {arm: VALUES[arm] for arm in ('rope', 'alibi')}
  experiment = fabricate.experiment(folder, arms=arms, claims=MORE, name='other')
  return fabricate.sweep(experiment, folder / 'other', arms)


@pytest.fixture(scope='session')
def accuracy(tmp_path_factory):
  """Returns the folder of a sweep without claims, about an accuracy."""
  folder = tmp_path_factory.mktemp('accuracy')
  arms = {
    'best': {64: [1.0, 0.99, 1.0], 128: [0.8, 0.8, 0.8]},
    'tied': {64: [0.98, 0.97, 1.0], 128: [0.7, 0.9, 0.75]},
    'worse': {64: [0.97, 0.97, 0.96], 128: [0.3, 0.31, 0.31]},
    'unlearned': {64: [0.5, 0.5, 0.5], 128: [0.3, 0.3, 0.31]},
  }
  experiment = fabricate.experiment(folder, arms=arms, metric='reads right')
  return fabricate.sweep(experiment, folder / 'accuracy', arms, floor=0.25)


@pytest.fixture(scope='session')
def page(topic, accuracy, tmp_path_factory):
  """Returns the folder of a report on two sweeps; an arm of the first is named like a tag."""
  folder = tmp_path_factory.mktemp('page')
  sweep = folder / 'topic'
  shutil.copytree(topic, sweep)
  manifest = (sweep / 'manifest.json').read_text()
  (sweep / 'manifest.json').write_text(
    manifest.replace('"arm": "alibi"', '"arm": "<img src=http://x onerror=y>$|&"')
  )
  assert report.main([str(sweep), str(accuracy), f'--out={folder / "out"}']) == 0
  return folder / 'out'
