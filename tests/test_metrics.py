"""The log: steps unique and increasing, a stop at the first number that is none; the clock."""

import json
import math
import time

import jax.numpy as jnp
import pytest

from posjax.metrics import Clock, Diverged, Log


def open_log(workdir, start=0):
  return Log(workdir, Clock(), start=start, steps=10, tokens_per_step=1000)


def test_lines_after_the_restored_step_are_dropped(tmp_path, capsys):
  log = open_log(tmp_path)
  for step in (1, 2, 3, 4):
    log.write(step, {'loss': jnp.float32(step)})
  log.close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 5, "lo')  # killed in the middle of a line
  log = open_log(tmp_path, start=2)
  log.write(3, {'loss': 30.0, 'validation_loss': 0.5})
  log.close()
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert rows == [
    {'step': 1, 'loss': 1.0}, {'step': 2, 'loss': 2.0},
    {'step': 3, 'loss': 30.0, 'validation_loss': 0.5},
  ]
  assert 'step 3/10: loss 30.000' in capsys.readouterr().out


@pytest.mark.parametrize('value', [math.nan, math.inf])
@pytest.mark.parametrize('name', ['loss', 'gradient_norm'])
def test_a_number_that_is_none_stops_the_run_and_is_not_written(tmp_path, name, value):
  log = open_log(tmp_path)
  values = {'loss': 1.0, 'gradient_norm': 2.0, name: jnp.float32(value)}
  with pytest.raises(Diverged, match=f'step 7: .*{name} {value}'):
    log.write(7, values)
  log.close()
  assert (tmp_path / 'metrics.jsonl').read_text() == ''


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
