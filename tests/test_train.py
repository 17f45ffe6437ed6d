"""The training line: shardings give the one-device losses, runs repeat and resume to the bit."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import data, metrics, sharding, train, validation
from posjax import state as state_lib

SMALL = (
  'data.corpus=text:{corpus}', 'train.steps=8', 'train.batch=8', 'train.length=16',
  'train.log_every=1', 'optimizer.warmup=2', 'model.dim=32', 'model.head_dim=8', 'model.hidden=64',
  'checkpoint.every=4', 'checkpoint.tokens=512',
  'evaluate.tokens=512', 'evaluate.stride=8', 'evaluate.windows=8',
  'attention.block=8', 'model.dropout=0.1', 'generate.tokens=20',
)
ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  """A text file of which a model can learn something: numbered lines."""
  path = tmp_path_factory.mktemp('corpus') / 'numbers.txt'
  path.write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
  return path


def small(corpus, *overrides, name='rope'):
  settings = [setting.format(corpus=corpus) for setting in SMALL]
  config, _, _ = config_lib.load(name, [f'--config.{s}' for s in (*settings, *overrides)])
  validation.validate(config)
  return config


def lines(workdir):
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def run(config, workdir):
  train.run(config, workdir, name='small', import_seconds=0.0, command='command')
  return lines(workdir)


def steps_on(mesh_shape, config, devices):
  """Losses of five steps and the gradients of the first one, on a mesh of some devices."""
  model = state_lib.transformer.from_config(config)
  mesh = sharding.make_mesh(mesh_shape, devices)
  batches = data.batches(
    data.load(**config.data), length=config.train.length, batch=config.train.batch, seed=0
  )
  with jax.set_mesh(mesh):
    abstract = state_lib.abstract(config, model, mesh)
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    state = jax.jit(state_lib.first(config, model), out_shardings=shardings)()
    step = train.make_step(config, model, state)
    batch = sharding.place(next(batches), mesh)
    _, gradients = jax.jit(
      lambda params, batch: train.gradients(
        model, params, batch, rng=jax.random.key(0), accumulate=config.train.accumulate
      )
    )(state.params, batch)
    gradients = jax.tree.map(np.asarray, gradients)
    losses = []
    for _ in range(5):
      state, values = step(state, batch)
      losses.append(float(values['loss']))
      batch = sharding.place(next(batches), mesh)
  return losses, gradients


@pytest.fixture(scope='module')
def one_device(corpus):
  return steps_on((1, 1, 1), small(corpus), jax.devices()[:1])


@pytest.mark.parametrize('mesh', [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_eight_devices_take_the_steps_of_one(corpus, one_device, mesh):
  losses, gradients = steps_on(mesh, small(corpus), jax.devices())
  np.testing.assert_allclose(losses, one_device[0], rtol=0, atol=1e-4)
  for mine, one in zip(
    jax.tree.leaves(gradients), jax.tree.leaves(one_device[1]), strict=True
  ):
    np.testing.assert_allclose(mine, one, rtol=1e-5, atol=1e-5)


def test_microbatches_take_the_step_of_the_whole_batch(corpus):
  whole, gradients = steps_on((1, 1, 1), small(corpus, 'model.dropout=0.0'), jax.devices()[:1])
  config = small(corpus, 'model.dropout=0.0', 'train.accumulate=4')
  parts, of_parts = steps_on((1, 1, 1), config, jax.devices()[:1])
  np.testing.assert_allclose(parts, whole, rtol=1e-5)
  for mine, one in zip(jax.tree.leaves(of_parts), jax.tree.leaves(gradients), strict=True):
    np.testing.assert_allclose(mine, one, rtol=1e-4, atol=1e-6)


def test_loss_counts_each_byte_once_and_padding_never(corpus):
  config = small(corpus, 'model.dropout=0.0')
  model = state_lib.transformer.from_config(config)
  params = state_lib.transformer.init(model, jax.random.key(0))
  rng = np.random.default_rng(0)
  batch = {
    'inputs': rng.integers(0, 256, (2, 6)), 'targets': rng.integers(0, 256, (2, 6)),
    'positions': np.array([[0, 1, 2, 0, 1, 0], [0, 1, 0, 0, 0, 0]]),
    'segment_ids': np.array([[0, 0, 0, 1, 1, -1], [0, 0, -1, -1, -1, -1]]),
  }
  batch = {name: value.astype(np.int32) for name, value in batch.items()}
  loss, _ = train.gradients(model, params, batch, rng=jax.random.key(0), accumulate=1)
  nats = [
    float(train.losses(model, params, {k: v[row : row + 1, a:b] for k, v in batch.items()}).sum())
    for row, a, b in ((0, 0, 3), (0, 3, 5), (1, 0, 2))
  ]
  assert float(loss) == pytest.approx(sum(nats) / 7, rel=1e-5)


def test_two_runs_write_the_same_metrics(corpus, tmp_path):
  config = small(corpus)
  first = run(config, tmp_path / 'a')
  run(config, tmp_path / 'b')
  assert [line['step'] for line in first] == list(range(1, 9))
  assert (tmp_path / 'a/metrics.jsonl').read_bytes() == (tmp_path / 'b/metrics.jsonl').read_bytes()
  assert first[-1]['loss'] < first[0]['loss'] - 0.3
  other = run(small(corpus, 'seed=1'), tmp_path / 'c')
  assert abs(other[0]['loss'] - first[0]['loss']) > 1e-3
  assert json.loads((tmp_path / 'a/evaluation.json').read_text())['corpus'].startswith('text:')
  assert (tmp_path / 'a/loss_by_length.png').read_bytes().startswith(b'\x89PNG')


def test_a_cut_off_run_goes_on_as_if_it_had_not_been(corpus, tmp_path):
  """Cut after step 6 of 8: checkpoint 4 is there, lines 5 and 6 are written again."""
  whole = run(small(corpus), tmp_path / 'whole')
  config = small(corpus)

  class Cut(Exception):
    pass

  write = metrics.Log.write

  def write_until_6(self, step, values):
    write(self, step, values)
    if step == 6:
      raise Cut

  metrics.Log.write = write_until_6
  try:
    with pytest.raises(Cut):
      run(config, tmp_path / 'cut')
  finally:
    metrics.Log.write = write
  assert [line['step'] for line in lines(tmp_path / 'cut')] == [1, 2, 3, 4, 5, 6]
  assert run(config, tmp_path / 'cut') == whole


def test_resumes_on_another_mesh(corpus, tmp_path):
  whole = run(small(corpus), tmp_path / 'whole')
  run_to(small(corpus, 'mesh=2,2,2'), tmp_path / 'moved', 4)
  moved = run(small(corpus, 'mesh=1,8,1'), tmp_path / 'moved')
  np.testing.assert_allclose(
    [line['loss'] for line in moved], [line['loss'] for line in whole], rtol=0, atol=1e-4
  )


def run_to(config, workdir, last):
  """Runs `config` and cuts it off when the checkpoint of step `last` is there."""

  class Cut(Exception):
    pass

  save = train.checkpoint.Checkpoints.save

  def save_and_cut(self, step, *arguments):
    save(self, step, *arguments)
    if step == last:
      self.close()
      raise Cut

  train.checkpoint.Checkpoints.save = save_and_cut
  try:
    with pytest.raises(Cut):
      run(config, workdir)
  finally:
    train.checkpoint.Checkpoints.save = save


def test_another_config_or_corpus_is_refused(corpus, tmp_path):
  run(small(corpus), tmp_path / 'run')
  with pytest.raises(config_lib.UserError, match='model.hidden 64 -> 96'):
    run(small(corpus, 'model.hidden=96'), tmp_path / 'run')
  before = corpus.read_text()
  corpus.write_text(before + '\none more line')
  try:
    with pytest.raises(config_lib.UserError, match='other data'):
      run(small(corpus), tmp_path / 'run')
  finally:
    corpus.write_text(before)


def test_newest_and_best_are_kept(corpus, tmp_path):
  """The best of the validation losses lies early: kept beside the newest two."""
  run(small(corpus, 'checkpoint.every=1', 'optimizer.learning_rate=0.3'), tmp_path / 'run')
  losses = {line['step']: line['validation_loss'] for line in lines(tmp_path / 'run')}
  best = min(losses, key=losses.get)
  kept = {int(path.name) for path in (tmp_path / 'run/checkpoints').iterdir()}
  assert kept == {7, 8, best}
  checkpoints = train.checkpoint.Checkpoints(tmp_path / 'run', 2)
  assert (checkpoints.find('newest'), checkpoints.find('best')) == (8, best)
  with pytest.raises(config_lib.UserError, match='--checkpoint=77: saved steps are'):
    checkpoints.find('77')


def command(corpus, workdir, *overrides):
  settings = [setting.format(corpus=corpus) for setting in (*SMALL, *overrides)]
  return [
    sys.executable, '-m', 'posjax.main', '--config=configs/rope.py', f'--workdir={workdir}',
    *(f'--config.{setting}' for setting in settings),
  ]


@pytest.mark.slow
def test_diverging_ends_with_exit_code_3(corpus, tmp_path):
  done = subprocess.run(
    command(corpus, tmp_path, 'optimizer.learning_rate=1e30', 'optimizer.clip=1e30'),
    cwd=ROOT, capture_output=True, text=True, check=False,
  )
  assert done.returncode == 3
  assert 'Traceback' not in done.stderr
  assert 'loss' in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_killed_between_steps_it_goes_on_to_the_bit(corpus, tmp_path):
  overrides = ('train.steps=600', 'checkpoint.every=100')
  subprocess.run(command(corpus, tmp_path / 'whole', *overrides), cwd=ROOT, check=True)
  process = subprocess.Popen(command(corpus, tmp_path / 'cut', *overrides), cwd=ROOT)
  while len(_lines_so_far(tmp_path / 'cut')) < 250:
    time.sleep(0.01)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  assert 250 <= lines(tmp_path / 'cut')[-1]['step'] < 600
  subprocess.run(command(corpus, tmp_path / 'cut', *overrides), cwd=ROOT, check=True)
  assert lines(tmp_path / 'cut') == lines(tmp_path / 'whole')


def _lines_so_far(workdir):
  path = workdir / 'metrics.jsonl'
  return path.read_text().splitlines() if path.exists() else []
