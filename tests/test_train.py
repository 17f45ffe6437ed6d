"""Training: losses do not depend on the mesh; runs repeat and resume bit for bit."""

import functools
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posjax import config as config_lib
from posjax import data, evaluate, metrics, run_summary, sharding, train, train_step
from posjax import state as state_lib
from posjax.batch import Batch, Stream
from posjax.config import validation
from posjax.encodings.shift import Shift
from posjax.errors import UserError
from posjax.models import transformer
from tests.support import text
from tests.support.meshes import mesh_of

SMALL = (
  'data.corpus=text:{corpus}', 'train.steps=8', 'train.batch=8', 'train.length=16',
  'train.log_every=1', 'optimizer.warmup=2', 'model.dim=32', 'model.head_dim=8', 'model.hidden=64',
  'checkpoint.every=4', 'task.text.validation_tokens=512',
  'task.text.tokens=512', 'task.text.stride=8', 'task.text.windows=8',
  'evaluate.multiples=1,2', 'attention.block=8', 'model.dropout=0.1',
)
ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module', autouse=True)
def compile_once(tmp_path_factory):
  """Most runs share a program, so a cache saves XLA's compile time."""
  keys = {
    'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
    'jax_persistent_cache_min_compile_time_secs': 0.2,
  }
  before = {key: getattr(jax.config, key) for key in keys}
  for key, value in keys.items():
    jax.config.update(key, value)
  yield
  for key, value in before.items():
    jax.config.update(key, value)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  """A text file that a model can learn: numbered lines."""
  path = tmp_path_factory.mktemp('corpus') / 'numbers.txt'
  path.write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
  return path


def small(corpus, *overrides, name='rope'):
  settings = [setting.format(corpus=corpus) for setting in SMALL]
  config, _, _ = config_lib.load(name, [f'--config.{s}' for s in (*settings, *overrides)])
  validation.validate(config)
  return config


@pytest.fixture(scope='module')
def whole(corpus, tmp_path_factory):
  """The folder of an undisturbed run; read-only."""
  workdir = tmp_path_factory.mktemp('runs') / 'whole'
  run(small(corpus), workdir)
  return workdir


def lines(workdir):
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def run(config, workdir):
  train.run(config, workdir, name='small', import_seconds=0.0, command='command')
  return lines(workdir)


def first_batches(config):
  corpus, train = data.load(**state_lib.source(config)), config.train
  return text.batches(corpus, length=train.length, batch=train.batch, seed=0)


def gradients(config, params, batch):
  """Returns the jitted loss and gradient of one batch."""
  function = functools.partial(
    train_step.gradients, *state_lib.build(config), rng=jax.random.key(0),
    accumulate=config.train.accumulate,
  )
  return jax.jit(function)(params, batch)


def on_mesh(config, *shape):
  """Returns the `Setup` of a config on another mesh than its own."""
  return state_lib.Setup(config, *state_lib.build(config), mesh_of(*shape))


def steps_on(mesh_shape, config):
  """Returns the losses of five steps and the gradients of the first, on a given mesh."""
  setup = on_mesh(config, *mesh_shape)
  batches, mesh = first_batches(config), setup.mesh
  with jax.set_mesh(mesh):
    state = train.first_state(setup)
    step = train_step.make_step(setup)
    batch = sharding.shard_batch(next(batches), mesh)
    first = jax.tree.map(np.asarray, gradients(config, state.params, batch)[1])
    losses = []
    for _ in range(5):
      state, values = step(state, batch)
      losses.append(float(values['loss']))
      batch = sharding.shard_batch(next(batches), mesh)
  return losses, first


@pytest.fixture(scope='module')
def one_device(corpus):
  return steps_on((1, 1, 1), small(corpus))


@pytest.mark.slow
@pytest.mark.parametrize('mesh', [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_eight_devices_take_the_steps_of_one(corpus, one_device, mesh):
  check_steps(steps_on(mesh, small(corpus)), one_device)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['transformer_xl', 'fire', 'dape', 'fox', 'path', 'randomize'])
def test_eight_devices_take_the_steps_of_one_for_all_kinds_of_layers(corpus, name):
  config = small(corpus, name=name)
  check_steps(steps_on((2, 2, 2), config), steps_on((1, 1, 1), config))


def check_steps(got, want):
  np.testing.assert_allclose(got[0], want[0], rtol=0, atol=1e-4)
  for mine, one in zip(jax.tree.leaves(got[1]), jax.tree.leaves(want[1]), strict=True):
    np.testing.assert_allclose(mine, one, rtol=1e-5, atol=1e-5)


def test_microbatches_give_the_gradient_of_the_entire_batch(corpus):
  whole = small(corpus, 'model.dropout=0.0')
  parts = small(corpus, 'model.dropout=0.0', 'train.accumulate=4')
  _, model = state_lib.build(whole)
  params = transformer.init(model, jax.random.key(0))
  batch = next(first_batches(whole))
  of_whole, of_parts = (gradients(config, params, batch) for config in (whole, parts))
  for mine, one in zip(jax.tree.leaves(of_parts), jax.tree.leaves(of_whole), strict=True):
    np.testing.assert_allclose(mine, one, rtol=1e-4, atol=1e-6)


def test_each_microbatch_draws_its_own_positions(monkeypatch):
  """The gradient of a row's weight equals the position drawn for the row."""

  def losses(task, model, params, rows, *, positions, dropout):
    k_B = model.init_state(len(rows.stream.x), 4, True, positions).sequence
    return params[rows.stream.x] * k_B[:, None]

  monkeypatch.setattr(train_step, 'losses', losses)
  rng, shift = jax.random.key(0), Shift(offsets=1_000_000)
  rows = jnp.broadcast_to(jnp.arange(8)[:, None], (8, 4))
  batch = Batch(Stream(rows), rows, jnp.ones((8, 4), bool))
  drawn = lambda accumulate: 8 * train_step.gradients(
    None, shift, jnp.zeros(8), batch, rng=rng, accumulate=accumulate
  )[1]
  whole = lambda batch: shift.init_state(batch, 4, True, jax.random.split(rng)[0]).sequence
  np.testing.assert_array_equal(drawn(1), whole(8))
  np.testing.assert_array_equal(drawn(4)[::4], whole(2))
  assert len(np.unique(drawn(4))) == 8


def test_loss_counts_each_byte_once_and_padding_never(corpus):
  """The mean over a packed batch equals the mean over its documents, each scored alone."""
  config = small(corpus, 'model.dropout=0.0')
  task, model = state_lib.build(config)
  params = transformer.init(model, jax.random.key(0))
  rng = np.random.default_rng(0)
  inputs, targets = (rng.integers(0, 256, (2, 6), np.int32) for _ in range(2))
  pos = np.int32([[0, 1, 2, 0, 1, 0], [0, 1, 0, 0, 0, 0]])
  segment_ids = np.int32([[0, 0, 0, 1, 1, -1], [0, 0, -1, -1, -1, -1]])
  batch = Batch(Stream(inputs, pos[..., None], segment_ids), targets, segment_ids >= 0)
  loss, _ = gradients(config, params, batch)

  def alone(row, start, stop):
    document = jax.tree.map(lambda x: x[row : row + 1, start:stop], batch)
    keys = dict(positions=None, dropout=jax.random.key(0))
    return float(jnp.sum(train_step.losses(task, model, params, document, **keys)))

  total = alone(0, 0, 3) + alone(0, 3, 5) + alone(1, 0, 2)
  assert float(loss) == pytest.approx(total / 7, rel=1e-5)


BAD = {
  'nan': lambda x: x * jnp.nan,
  'inf': lambda x: x + jnp.inf,
  'gradient': lambda x: jnp.sqrt(x - jax.lax.stop_gradient(x)),  # 0 with an infinite slope
}


@pytest.mark.parametrize('bad', [
  pytest.param(function, id=name, marks=[pytest.mark.slow] * (name != 'nan'))
  for name, function in BAD.items()
])
def test_a_bad_step_changes_no_weight_and_no_moment(corpus, monkeypatch, bad):
  """A batch that begins with byte 255 gives a bad step; one is allowed, not two."""
  losses = train_step.losses

  def sometimes_bad(task, model, params, batch, **keys):
    nats_BT = losses(task, model, params, batch, **keys)
    return jax.lax.cond(batch.stream.x[0, 0] == 255, bad, lambda x: x, nats_BT)

  monkeypatch.setattr(train_step, 'losses', sometimes_bad)
  config = small(corpus, 'model.dropout=0.0', 'train.max_skipped=1')
  setup = on_mesh(config, 1, 1, 1)
  with jax.set_mesh(setup.mesh):
    state, step = train.first_state(setup), train_step.make_step(setup)
    good = next(first_batches(config))
    poisoned = jax.tree.map(np.copy, good)
    poisoned.stream.x[0, 0] = 255
    seen = []
    for batch in (good, good, poisoned, good, poisoned, good):
      before = jax.tree.map(np.array, (state.params, state.opt_state))
      state, values = step(state, batch)
      changed = [
        not np.array_equal(x, y)
        for x, y in zip(
          jax.tree.leaves(before), jax.tree.leaves((state.params, state.opt_state)), strict=True
        )
      ]
      seen.append((all(changed), any(changed), int(values['skipped']), int(values['gave_up'])))
  # The learning rate of the first step is 0, so it changes only the moments.
  assert seen[0][1:] == (True, 0, 0)
  assert seen[1:] == [
    (True, True, 0, 0), (False, False, 1, 0), (True, True, 1, 0), (False, False, 2, 5),
    (True, True, 2, 5),
  ]
  assert int(state.step) == 6


def test_two_runs_write_the_same_metrics(corpus, whole, tmp_path, capsys):
  first = lines(whole)
  assert [line['step'] for line in first] == list(range(1, 9))
  assert first[-1]['loss'] < first[0]['loss'] - 0.3
  # Evaluation uses trained weights: all splits consist of similar numbered lines.
  shortest = json.loads((whole / 'evaluation.json').read_text())['records'][0]
  assert shortest == {
    'test': 'non-overlapping', 'metric': 'nats/byte', 'length': 16, 'floor': None,
    'value': pytest.approx(first[-1]['validation_loss'], rel=0.05),
  }
  run(small(corpus), tmp_path)
  said = capsys.readouterr().out
  assert f'\nwatch      tensorboard --logdir={tmp_path}/tensorboard\nstep 1/8: loss ' in said
  assert '00:00 left\nevaluating\n' in said
  assert (tmp_path / 'metrics.jsonl').read_bytes() == (whole / 'metrics.jsonl').read_bytes()
  assert (tmp_path / 'evaluation.json').read_bytes() == (whole / 'evaluation.json').read_bytes()
  assert (tmp_path / 'by_length.png').read_bytes().startswith(b'\x89PNG')


def test_an_interrupted_run_resumes_to_the_same_results(corpus, whole, tmp_path):
  """Interrupted after step 6 of 8: checkpoint 4 exists, and lines 5 and 6 are written again."""
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
  assert run(config, tmp_path / 'cut') == lines(whole)
  written = (tmp_path / 'cut/speed.jsonl').read_text()
  speeds = [json.loads(line) for line in written.splitlines()]
  assert [line['step'] for line in speeds] == [1, 2, 3, 4, 5, 6, 7, 8]
  seconds = [line['seconds'] for line in speeds]
  assert 0 < seconds[0] and all(a < b for a, b in itertools.pairwise(seconds))


@pytest.mark.slow
def test_a_run_resumes_on_another_mesh(corpus, whole, tmp_path):
  run_to(small(corpus, 'mesh.fsdp=2', 'mesh.tensor=2'), tmp_path / 'moved', 4)
  moved = run(small(corpus, 'mesh.data=1', 'mesh.fsdp=8'), tmp_path / 'moved')
  np.testing.assert_allclose(
    [line['loss'] for line in moved], [line['loss'] for line in lines(whole)], rtol=0, atol=1e-4
  )


def run_to(config, workdir, last):
  """Runs `config` and interrupts it once the checkpoint of step `last` exists."""

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


def test_another_config_or_corpus_is_refused(corpus, whole):
  with pytest.raises(UserError, match='model.hidden 64 -> 96'):
    run(small(corpus, 'model.hidden=96'), whole)
  before = corpus.read_text()
  corpus.write_text(before + '\none more line')
  try:
    said = 'cannot resume with other data: sha256 .* -> .*--config.init.run='
    with pytest.raises(UserError, match=said):
      run(small(corpus), whole)
  finally:
    corpus.write_text(before)


def test_newest_and_best_are_kept(corpus, tmp_path):
  """With far too large steps the loss rises from step 2 on, so 2 is kept next to the newest two."""
  settings = ('checkpoint.every=1', 'optimizer.learning_rate=3.0', 'optimizer.warmup=4')
  config = small(corpus, *settings)
  run(config, tmp_path / 'run')
  losses = {line['step']: line['validation_loss'] for line in lines(tmp_path / 'run')}
  assert min(losses, key=losses.get) == 2
  kept = {int(path.name) for path in (tmp_path / 'run/checkpoints').iterdir()}
  assert kept == {2, 7, 8}
  setup = state_lib.setup(config)
  for which, step in (('newest', 8), ('best', 2), ('7', 7)):
    saved = state_lib.load(setup, tmp_path / 'run', which)
    assert (saved.step, saved.record['validation_loss']) == (step, losses[step])
  with pytest.raises(UserError, match='--checkpoint=77: .* saved steps are'):
    state_lib.load(setup, tmp_path / 'run', '77')


def test_a_run_without_its_log_reports_that_and_resumes(corpus, whole, tmp_path):
  """The message comes once: the next checkpoint records the number of lines."""
  shutil.copytree(whole, tmp_path / 'run')
  shutil.rmtree(tmp_path / 'run/checkpoints/8')
  (tmp_path / 'run/metrics.jsonl').unlink()
  with pytest.warns(UserWarning, match='metrics.jsonl: 4 of the 4 lines up to step 4 are missing'):
    assert run(small(corpus), tmp_path / 'run') == lines(whole)[4:]
  setup = state_lib.setup(small(corpus))
  for folder, count in ((whole, 8), (tmp_path / 'run', 4)):
    assert state_lib.load(setup, folder, 'newest').record['metrics'] == count


def test_an_evaluation_that_cannot_be_saved_is_printed(
  corpus, whole, tmp_path, monkeypatch, capsys
):
  shutil.copytree(whole, tmp_path / 'run')
  before = {path: path.stat().st_ctime_ns for path in [tmp_path, *tmp_path.rglob('*')]}
  monkeypatch.setattr(os, 'access', lambda path, mode: (path, mode) != (tmp_path / 'run', os.W_OK))
  settings = dict(name='small', checkpoint='newest', command='command')
  with pytest.warns(UserWarning, match='run cannot be written: these results are not saved'):
    evaluate.run(small(corpus), tmp_path / 'run', **settings)
  said = capsys.readouterr().out
  result = json.loads((whole / 'evaluation.json').read_text())
  assert run_summary.table(result) in said and 'next:   command' in said and 'figure' not in said
  assert {path: path.stat().st_ctime_ns for path in [tmp_path, *tmp_path.rglob('*')]} == before


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
def test_a_run_killed_between_steps_resumes_bitwise(corpus, tmp_path):
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
