"""A trace of training steps: which steps, where it is written, what is refused."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from posjax.errors import UserError
from posjax.runtime import trace


def test_the_steps_after_the_first_three_are_traced(tmp_path, capsys):
  step = trace.traced(jax.jit(lambda x: x + 1), 2, tmp_path)
  x, said = jnp.int32(0), []
  for _ in range(7):
    x = step(x)
    said.append(capsys.readouterr().out)
  assert x == 7 and [bool(text) for text in said] == [False] * 4 + [True] + [False] * 2
  [file] = tmp_path.glob('**/perfetto_trace.json.gz')
  assert said[4].splitlines() == [
    f'profile    {file}; open it at https://ui.perfetto.dev',
    f'           or: pip install xprof; xprof --logdir={tmp_path}',
  ]
  events = json.loads(gzip.decompress(file.read_bytes()))['traceEvents']
  numbers = [event['args']['step_num'] for event in events if event.get('name') == 'train']
  assert numbers == ['4', '5']


def test_a_run_that_has_too_few_steps_left_is_refused():
  trace.check(5, 8)
  with pytest.raises(UserError) as refused:
    trace.check(5, 7)
  assert str(refused.value) == (
    '--profile=5: takes 8 steps, the first 3 untraced; this run has 7 left'
  )
