"""The log: unique, increasing steps and a stop at non-finite values; the clock."""

import fcntl
import json
import math
import os
import re
import select
import struct
import termios
import time
import warnings

import jax.numpy as jnp
import pytest

from posjax import metrics
from posjax.metrics import Clock, Diverged, Log


def open_log(workdir, start=0, **settings):
  settings = dict(start=start, steps=10, tokens_per_step=1000) | settings
  return Log(workdir, Clock(), **settings)


def values(**changes):
  return {'loss': jnp.float32(1.0), 'skipped': jnp.int32(0), 'gave_up': jnp.int32(0)} | changes


def rows(workdir, name='metrics.jsonl'):
  return [json.loads(line) for line in (workdir / name).read_text().splitlines()]


@pytest.mark.parametrize('torn', [
  '{"step": 5, "lo', '\0\0\0\n', '{"step": 5}', '\xff', '5\n[1]\nnull\n{}\ntrue\n"step"\n[[1]]',
  '{"step": "1"}\n{"step": null}\n{"step": 1.0}\n{"step": true}\n{"step": NaN}\n[{"step": 1}]',
  '[' * 100_000, '\n\n',
])
def test_torn_lines_and_lines_after_the_restored_step_are_dropped(tmp_path, capsys, torn):
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
def test_missing_lines_are_reported(tmp_path, step, written, lost):
  log = open_log(tmp_path)
  for number in (1, 2, 3, 4):
    log.write(number, values())
  log.close()
  with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter('always')
    metrics.check_kept(tmp_path, step=step, written=written)
  assert [str(warning.message) for warning in said] == (lost > 0) * [
    f'{tmp_path}/metrics.jsonl: {lost} of the {written} lines up to step {step} are missing; the '
    'run continues'
  ]


def test_a_missing_log_is_reported(tmp_path):
  with pytest.warns(UserWarning, match='metrics.jsonl: 85 of the 85 lines up to step 425 are '):
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


def test_speed_counts_training_time_since_the_line_before(tmp_path, capsys, monkeypatch):
  """Resumed after step 2: 2 s for two steps, then 1 s for two, plus 3 s of evaluation each."""
  before = {'step': 2, 'seconds': 7.0}
  dropped = {'step': 3, 'seconds': 9.0}  # from an interrupted run
  text = ''.join(json.dumps(line) + '\n' for line in (before, dropped))
  (tmp_path / 'speed.jsonl').write_text(text)
  monkeypatch.setattr(metrics.time, 'perf_counter', iter([10.0, 15.0, 19.0]).__next__)
  log = open_log(tmp_path, start=2, flops_per_step=3e9, peak=12e9)
  for step in (4, 6):
    log._clock.seconds['evaluate'] += 3.0
    log.write(step, values())
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == 'step 4/10: loss 1.000, 1,000 tokens/s, 00:06 left'
  assert lines[1] == 'step 6/10: loss 1.000, 2,000 tokens/s, 00:03 left'  # as over all steps
  assert rows(tmp_path, 'speed.jsonl') == [
    before,
    {'step': 4, 'seconds': 9.0, 'tokens': 4000, 'tokens_per_second': 1000.0, 'utilization': 0.25},
    {'step': 6, 'seconds': 10.0, 'tokens': 6000, 'tokens_per_second': 2000.0, 'utilization': 0.5},
  ]


def test_without_a_peak_there_is_no_utilization(tmp_path):
  log = open_log(tmp_path, flops_per_step=3e9)
  log.write(1, values())
  log.close()
  [line] = rows(tmp_path, 'speed.jsonl')
  assert line['utilization'] is None and line['tokens'] == 1000
  assert rows(tmp_path) == [{'step': 1, 'loss': 1.0, 'skipped': 0}]  # no timings


def test_all_numbers_fit_a_terminal_of_80_columns(tmp_path, monkeypatch):
  """The loss comes first; the last validation loss is repeated."""
  screen, terminal = os.openpty()
  fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
  with open(terminal, 'w') as stream:
    monkeypatch.setattr(metrics.sys, 'stderr', stream)
    monkeypatch.setattr(metrics.time, 'perf_counter', iter([0.0, 2.6, 3.1]).__next__)
    log = open_log(tmp_path, steps=100_000, tokens_per_step=65_536)
    log.write(50, values(loss=2.34567, validation_loss=2.5))
    log._bar.refresh()
    log.write(60, values(loss=2.25))
    log.close()
    text = b''
    while b'60/100000\r\n' not in text and select.select([screen], [], [], 5)[0]:
      text += os.read(screen, 10_000)
  os.close(screen)
  shown = re.split(r'[\r\n]+', text.decode())
  assert {len(line) for line in shown if line} == {79}
  *_, first, last = dict.fromkeys(line for line in shown if line.startswith('loss '))
  wanted = 'loss 2.346, validation 2.500, 1,260,308 tokens/s, 1:26:37 left'
  assert first.startswith(wanted) and first.endswith(' 50/100000')
  wanted = 'loss 2.250, validation 2.500, 1,310,720 tokens/s, 1:26:03 left'
  assert last.startswith(wanted) and last.endswith(' 60/100000')


def test_nested_activities_are_not_counted_twice():
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
