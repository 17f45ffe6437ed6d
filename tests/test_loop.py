"""A run with stand-ins for its steps: where it begins, logs, saves and ends."""

import itertools
import json
import os
import signal
import types

import jax
import pytest

from posjax import checkpoint, evaluate, metrics, plan, sharding, train
from posjax import config as config_lib
from posjax import state as state_lib
from posjax.data import pipeline
from posjax.errors import UserError
from posjax.models import transformer
from posjax.runtime import memory
from posjax.runtime.signals import Interrupted

# Before the first step, and after a bad one.


class Checkpoints:
  """Records saves, waits, and the step after which a run resumes."""

  def __init__(self, folder, restored=None):
    self.directory, self.restored = folder / 'checkpoints', restored
    self.saved, self.waited, self.goes_on_from = {}, 0, None

  def save(self, step, state, batches, record, loss):
    self.saved[step] = (int(state.step), loss)

  def wait(self):
    self.waited += 1

  def newest(self):
    return self.restored and self.restored.step

  def find(self, which, read):
    assert which == 'newest'
    return self.restored

  def quarantine(self, newest):
    self.goes_on_from = newest


def in_context(checkpoints, *overrides):
  config, _, _ = config_lib.load('rope', [f'--config.{override}' for override in overrides])
  shapes = types.SimpleNamespace(params=None)
  setup = types.SimpleNamespace(config=config, model=None, mesh=None, shapes=shapes)
  return train.Context(setup, itertools.count(1), None, None, checkpoints, {}, metrics.Clock())


def test_initial_weights_and_data_order_depend_on_the_seed(monkeypatch, tmp_path):
  class Seen(Exception):
    pass

  def batches(documents, **order):
    raise Seen(documents, order)

  data = types.SimpleNamespace(train='documents', name='a corpus')
  monkeypatch.setattr(state_lib.Setup, 'open', lambda setup: data)
  monkeypatch.setattr(pipeline, 'batches', batches)
  config = in_context(None, 'seed=5').setup.config
  with pytest.raises(Seen) as seen:
    train.run(config, tmp_path, name='name', import_seconds=0.0, command='command')
  order = dict(name='a corpus', length=64, answers=64, batch=16, seed=5)
  assert seen.value.args == ('documents', order)

  monkeypatch.setattr(transformer, 'init', lambda model, rng: {'w_DF': jax.random.uniform(rng)})
  first = state_lib.first(config, None)()
  assert first.params['w_DF'] == jax.random.uniform(jax.random.key(5))
  assert first.step == first.skipped == first.gave_up == 0


def test_a_run_resumes_from_its_checkpoint(tmp_path, capsys):
  assert train.resume(in_context(Checkpoints(tmp_path))) is None
  saved = Checkpoints(tmp_path, types.SimpleNamespace(step=4, state='state', record={}))
  assert train.resume(in_context(saved)) == 'state' and saved.goes_on_from == 4
  assert capsys.readouterr().out == 'resuming after step 4\n'


def test_results_without_a_checkpoint_are_not_overwritten(tmp_path):
  (tmp_path / checkpoint.SAVED).touch()
  with pytest.raises(UserError, match=f'^{tmp_path}: all checkpoints of this run are missing'):
    train.resume(in_context(Checkpoints(tmp_path)))


def test_too_little_memory_stops_the_run_after_compiling(tmp_path, monkeypatch, capsys):
  """The run announces compilation before it compiles."""
  def too_small(compiled):
    raise UserError(compiled)

  lowered = types.SimpleNamespace(compile=lambda: f'{capsys.readouterr().out!r} the step')
  step = types.SimpleNamespace(lower=lambda *_: lowered)
  monkeypatch.setattr(train, 'make_step', lambda *_: step)
  monkeypatch.setattr(train, 'example', lambda *_: {})
  monkeypatch.setattr(memory, 'check_memory', too_small)
  with pytest.raises(UserError, match=r"^'compiling the training step\\n' the step$"):
    train.train(in_context(Checkpoints(tmp_path)))


def test_the_message_after_a_bad_step(tmp_path):
  said = train.last_good(in_context(Checkpoints(tmp_path)))
  assert said.startswith('no checkpoint was saved before it; ')
  saved = Checkpoints(tmp_path, types.SimpleNamespace(step=4))
  said = train.last_good(in_context(saved, 'train.max_skipped=3'))
  assert 'step 4 ' in said and '--config.train.max_skipped=13,' in said and saved.waited == 1


# The loop.


@pytest.fixture
def loop(monkeypatch, tmp_path):
  """Runs `train.loop` over ten steps; has the checkpoints and a list of executed steps.

  SIGTERM comes during the steps in `sent`; with `saving`, during the last save.
  """
  monkeypatch.setattr(sharding, 'shard_batch', lambda batch, mesh: batch)
  monkeypatch.setattr(evaluate, 'validate', lambda scorer, params, rows: float(params))
  monkeypatch.setattr(plan, 'flops_per_step', lambda config, model, params: 1e6)
  checkpoints, taken = Checkpoints(tmp_path), []
  context = in_context(
    checkpoints, 'train.steps=10', 'train.log_every=3', 'checkpoint.every=4', 'optimizer.warmup=1'
  )

  def run(*, first=1, sent=(), saving=False, gave_up=0):
    def step(state, batch):
      number = state.step + 1
      taken.append(number)
      assert batch == number - first + 1
      if number in sent:
        os.kill(os.getpid(), signal.SIGTERM)
      values = dict(loss=number / 10, skipped=0, gave_up=gave_up)
      return types.SimpleNamespace(step=number, params=100 + number), values

    if saving:
      checkpoints.save = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    return train.loop(context, types.SimpleNamespace(step=first - 1), step)

  run.checkpoints, run.taken, run.folder = checkpoints, taken, tmp_path
  return run


def lines(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def test_the_loop_logs_and_saves_when_it_is_told_to(loop):
  """The last step is always saved; each checkpoint is validated and logged."""
  assert loop().step == 10
  assert loop.taken == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
  assert loop.checkpoints.saved == {4: (4, 104), 8: (8, 108), 10: (10, 110)}
  validated = {4: 104, 8: 108, 10: 110}
  assert lines(loop.folder) == [
    {'step': n, 'loss': n / 10, 'skipped': 0}
    | ({'validation_loss': validated[n]} if n in validated else {}) for n in (3, 4, 6, 8, 9, 10)
  ]


def test_the_loop_resumes_after_the_given_step(loop):
  """Lines of later steps, from an interrupted run, are written again."""
  old = [{'step': n, 'loss': 7.0} for n in (3, 4, 6)]
  (loop.folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in old))
  loop(first=5)
  assert loop.taken == [5, 6, 7, 8, 9, 10]
  assert [(line['step'], line['loss']) for line in lines(loop.folder)] == [
    (3, 7.0), (4, 7.0), (6, 0.6), (8, 0.8), (9, 0.9), (10, 1.0)
  ]


def test_the_loop_has_nothing_left_to_do(loop):
  assert loop(first=11).step == 10
  assert loop.taken == [] and loop.checkpoints.saved == {} and lines(loop.folder) == []


@pytest.mark.parametrize('sent, saved, logged', [
  ((5,), {4: (4, 104), 5: (5, None)}, [3, 4]),  # neither validated nor due to be logged
  ((6,), {4: (4, 104), 6: (6, None)}, [3, 4, 6]),
  ((8,), {4: (4, 104), 8: (8, 108)}, [3, 4, 6, 8]),
  ((10,), {4: (4, 104), 8: (8, 108), 10: (10, 110)}, [3, 4, 6, 8, 9, 10]),
])
def test_a_signal_saves_the_current_step(loop, sent, saved, logged):
  with pytest.raises(Interrupted, match=f'^SIGTERM: saved after step {sent[0]}$'):
    loop(sent=sent)
  assert loop.checkpoints.saved == saved and loop.checkpoints.waited == 1
  assert [line['step'] for line in lines(loop.folder)] == logged


def test_a_signal_while_the_last_step_is_saved(loop):
  with pytest.raises(Interrupted, match='^SIGTERM: saved after step 10$'):
    loop(first=10, saving=True)


def test_a_signal_does_not_save_a_step_that_gave_up(loop):
  with pytest.raises(metrics.Diverged, match='^step 5: '):
    loop(first=5, sent=(5,), gave_up=5)
  assert loop.checkpoints.saved == {}
