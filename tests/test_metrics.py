"""The log: steps unique and increasing, a stop at the first number that is none; the clock."""

import json
import math
import time
import warnings

import jax.numpy as jnp
import pytest
from tensorboardX.proto.event_pb2 import Event

from posjax import metrics
from posjax.metrics import Clock, Diverged, Log


def open_log(workdir, start=0):
  return Log(workdir, Clock(), start=start, steps=10, tokens_per_step=1000)


def values(**changes):
  return {'loss': jnp.float32(1.0), 'skipped': jnp.int32(0), 'gave_up': jnp.int32(0)} | changes


def rows(workdir):
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


@pytest.mark.parametrize('torn', [
  '{"step": 5, "lo', '\0\0\0\n', '{"step": 5}', '\xff', '5\n[1]\nnull\n{}\ntrue\n"step"\n[[1]]',
  '{"step": "1"}\n{"step": null}\n{"step": 1.0}\n{"step": true}\n{"step": NaN}\n[{"step": 1}]',
  '[' * 100_000, '\n\n',
])
def test_lines_that_are_none_up_to_the_restored_step_are_dropped(tmp_path, capsys, torn):
  log = open_log(tmp_path)
  for step in (1, 2, 3, 4):
    log.write(step, values(loss=jnp.float32(step)))
  log.close()
  with (tmp_path / 'metrics.jsonl').open('ab') as file:
    file.write(torn.encode('latin-1'))  # killed in the middle of a line
  log = open_log(tmp_path, start=2)
  log.write(3, values(loss=30.0, validation_loss=0.5))
  log.close()
  assert rows(tmp_path) == [
    {'step': 1, 'loss': 1.0, 'skipped': 0}, {'step': 2, 'loss': 2.0, 'skipped': 0},
    {'step': 3, 'loss': 30.0, 'skipped': 0, 'validation_loss': 0.5},
  ]
  assert log.written == 3
  assert 'step 3/10: loss 30.000' in capsys.readouterr().out


@pytest.mark.parametrize('step, written, lost', [
  (4, 4, 0), (2, 2, 0), (4, 7, 3), (3, 5, 2), (4, 0, 0),
])
def test_lines_that_are_gone_are_said(tmp_path, step, written, lost):
  log = open_log(tmp_path)
  for number in (1, 2, 3, 4):
    log.write(number, values())
  log.close()
  with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter('always')
    metrics.check_kept(tmp_path, step=step, written=written)
  assert [str(warning.message) for warning in said] == (lost > 0) * [
    f'{tmp_path}/metrics.jsonl: {lost} of the {written} lines up to step {step} are gone; the run '
    'goes on without'
  ]


def test_a_log_that_is_gone_is_said(tmp_path):
  with pytest.warns(UserWarning, match='metrics.jsonl: 85 of the 85 lines up to step 425 are gone'):
    metrics.check_kept(tmp_path, step=425, written=85)


def test_a_run_that_gave_up_writes_nothing(tmp_path):
  log = open_log(tmp_path)
  with pytest.raises(Diverged, match='^step 6: the loss or its gradient is NaN or infinite$'):
    log.write(7, values(gave_up=jnp.int32(6)))
  for loss in (math.nan, math.inf):
    with pytest.raises(Diverged, match=f'^step 7: the validation loss is {loss}$'):
      log.write(7, values(validation_loss=loss))
  log.close()
  assert (tmp_path / 'metrics.jsonl').read_text() == ''


def test_a_step_that_was_skipped_is_json(tmp_path, capsys):
  log = open_log(tmp_path)
  log.write(5, values(loss=jnp.float32(math.nan), skipped=jnp.int32(2)))
  log.close()
  assert (tmp_path / 'metrics.jsonl').read_text() == '{"step": 5, "loss": null, "skipped": 2}\n'
  assert '2 steps skipped' in capsys.readouterr().out


def test_speed_is_that_of_training_since_the_line_before(tmp_path, capsys, monkeypatch):
  """Resumed after step 2: 2 s for two steps, then 1 s for two, and 3 s of evaluation each time."""
  now = iter([10.0, *[15.0] * 3, *[19.0] * 3]).__next__
  monkeypatch.setattr(metrics.time, 'perf_counter', now)
  log = open_log(tmp_path, start=2)
  for step in (4, 6):
    log._clock.seconds['evaluate'] += 3.0
    log.write(step, values())
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == 'step 4/10: loss 1.000, 1,000 tokens/s, 6 s left'
  assert lines[1] == 'step 6/10: loss 1.000, 2,000 tokens/s, 3 s left'  # at 1,333, as on the whole


def test_tensorboard_hides_what_a_run_that_was_cut_off_wrote(tmp_path):
  """The second file begins with a mark of step 4, from which on TensorBoard forgets the first."""
  for start in (0, 3):
    log = open_log(tmp_path, start)
    log.write(start + 1, values(loss=0.25))
    log.close()
    newest = max((tmp_path / 'tensorboard').iterdir(), key=lambda path: path.stat().st_mtime_ns)
    version, begins, scalars = events(newest)
    assert version.file_version == 'brain.Event:2'
    assert (begins.step, begins.session_log.status) == (start + 1, 1)
    assert scalars.step == start + 1
    assert {v.tag: v.simple_value for v in scalars.summary.value}['loss'] == 0.25
    newest.rename(newest.with_name(str(start)))


def events(path):
  """Those of a TensorBoard file: of each record its length, a check of 4 bytes, itself, another."""
  content = path.read_bytes()
  while content:
    length = int.from_bytes(content[:8], 'little')
    yield Event.FromString(content[12 : 12 + length])
    content = content[16 + length :]


def test_an_inner_activity_is_not_counted_twice():
  clock = Clock(**{'import': 2.0})
  start = time.perf_counter()
  with clock('train'):
    time.sleep(0.02)
    with clock('evaluate'):
      time.sleep(0.05)
  passed = time.perf_counter() - start
  assert clock.seconds['import'] == 2.0
  assert clock.seconds['evaluate'] >= 0.05
  assert clock.seconds['train'] + clock.seconds['evaluate'] == pytest.approx(passed, abs=0.005)
  assert str(clock).startswith('seconds: import 2.0, ')
