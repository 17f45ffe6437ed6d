"""Arms that run another program than posjax.main: the n-gram model, next to a Transformer."""

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from posjax import config as config_lib
from posjax import ngram
from posjax import run as run_lib
from posjax.sweep import __main__ as sweep
from posjax.sweep import runs as runs_lib
from posjax.sweep import table
from tests.sweep import processes

TINY = (
  'data.corpus=text:numbers.txt', 'train.steps=2', 'train.batch=8', 'train.length=16',
  'optimizer.warmup=1', 'model.dim=32', 'model.head_dim=8', 'model.hidden=64',
  'task.text.validation_tokens=512', 'task.text.tokens=512', 'task.text.stride=8',
  'task.text.windows=8', 'evaluate.multiples=1,2',
)
EXPERIMENT = f'''"""Counting is near."""

TINY = tuple(f'--config.{{key}}' for key in {TINY})
ARMS = {{
  '4-gram': ('posjax.ngram', '--config=rope', '--order=4', *TINY),
  'rope': ('--config=rope', *TINY),
}}
SEEDS = (0,)
'''


@pytest.fixture
def folder(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  lines = (f'line {i} follows line {i - 1}' for i in range(1, 800))
  Path('numbers.txt').write_text('\n'.join(lines))
  Path('near.py').write_text(EXPERIMENT)


class InProcess:
  """Runs posjax.ngram in this process; for posjax.main, copies the n-gram's result."""

  def __init__(self):
    self.programs = []

  def start(self, command, stdout, stderr, env):
    _, _, program, *arguments = command
    self.programs.append(program)
    code = 0
    if program == 'posjax.ngram':
      code = ngram.main(arguments)
    else:
      parsed = run_lib.parse(['posjax', *arguments])
      result = json.loads(Path('runs/sweeps/near/4-gram-0/evaluation.json').read_text())
      result |= {'weights': 28_864, 'config': config_lib.to_dict(parsed.config)}
      (Path(parsed.workdir) / 'evaluation.json').write_text(json.dumps(result))
    return processes.Ended(code)


@pytest.fixture
def programs(folder, monkeypatch):
  """The names of the programs that a sweep has started."""
  started = InProcess()
  processes.replace(monkeypatch, started.start)
  return started.programs


def said(capsys):
  return capsys.readouterr().err.splitlines()[-1]


def test_an_n_gram_is_a_row_of_the_table(programs, capsys):
  assert sweep.main(['near.py']) == 0
  assert programs == ['posjax.ngram', 'posjax.main']
  result = json.loads(Path('runs/sweeps/near/4-gram-0/evaluation.json').read_text())
  text = Path('runs/sweeps/near/table.md').read_text()
  for test in ('non-overlapping', 'sliding'):
    bits = [
      f'{r["value"]:.2f}' for r in result['records']
      if (r['test'], r['metric']) == (test, 'bits/byte')
    ]
    assert len(bits) == 2
    assert f'| 4-gram | {result["weights"]:,} | {" | ".join(bits)} |\n| rope | 28,864 | ' in text
  manifest = json.loads(Path('runs/sweeps/near/manifest.json').read_text())
  assert [(run['arm'], run['status']) for run in manifest['runs']] == [
    ('4-gram', 'done'), ('rope', 'done'),
  ]
  command = manifest['runs'][0]['command']
  assert command.startswith('python -m posjax.ngram --config=rope --order=4 --config.data.corpus=')
  assert sweep.main(['near.py']) == 0 and len(programs) == 2


@pytest.mark.parametrize('old, new, changed', [
  ('--order=4', '--order=5', 'ngram.order 4 -> 5'),
  ("'posjax.ngram', '--config=rope', '--order=4'", "'--config=rope'", 'ngram.order 4 -> absent'),
])
def test_a_changed_n_gram_is_refused(programs, capsys, old, new, changed):
  sweep.main(['near.py', '--arms=4-gram'])
  Path('near.py').write_text(EXPERIMENT.replace(old, new))
  assert sweep.main(['near.py']) == 2
  assert said(capsys) == (
    f'posjax: runs/sweeps/near/4-gram-0: arm 4-gram ran with another config, {changed}; delete '
    'that folder, or choose another --workdir'
  )


@pytest.mark.parametrize('old, new, message', [
  (
    'posjax.ngram', 'posjax.ngarm',
    'posjax.ngarm: did you mean posjax.ngram? A program must be one of posjax.main, posjax.ngram',
  ),
  (
    '--order=4', '--order=0',
    'argument --order: invalid choice: 0 (choose from 1, 2, 3, 4, 5, 6, 7, 8)',
  ),
])
def test_mistake_is_one_line_before_any_run(programs, capsys, old, new, message):
  Path('near.py').write_text(EXPERIMENT.replace(old, new))
  assert sweep.main(['near.py']) == 2
  assert said(capsys) == f'posjax: near.py: arm 4-gram: {message}'
  assert programs == []


def test_posjax_main_can_be_named():
  assert runs_lib.split(('posjax.main', '--config=rope')) == ('posjax.main', ('--config=rope',))
  assert runs_lib.split(('--config=rope',)) == ('posjax.main', ('--config=rope',))


@pytest.mark.slow
def test_a_transformer_and_an_n_gram_in_one_sweep(folder):
  command = [sys.executable, '-m', 'posjax.sweep', 'near.py', '--workdir=out']
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  row = r'\| (?:4-gram \| \d+,\d+|rope \| 28,864)(?: \| \d\.\d\d){2} \|'
  assert len(re.findall(row, done.stdout)) == 4
  assert Path('out/table.md').read_text() in done.stdout


def result(arm, seed, values):
  """Returns a finished run's (run, result), reduced to what a table of differences reads."""
  run = types.SimpleNamespace(arm=arm, seed=seed)
  records = [
    {'test': 't', 'metric': 'm', 'length': n, 'value': value} for n, value in values.items()
  ]
  return run, {'records': records}


def test_differences_are_paired_by_seed():
  """Seed 2 has no partner; a length beyond the limit of one run has no difference."""
  done = [
    result('nope', 0, {64: 1.0, 128: 2.0}), result('nope', 1, {64: 3.0, 128: 2.0}),
    result('rope', 0, {64: 1.5, 128: None}), result('rope', 1, {64: 2.5, 128: 2.0}),
    result('rope', 2, {64: 9.0, 128: 9.0}),
  ]
  lines = table.differences(done, 't', 'm', 'nope')
  half = 12.7062 * (2**0.5 / 2) / 2**0.5  # t of one degree of freedom, deviations of +-0.5
  assert lines == [
    '| arm | 64 | 128 |', '| --- | --- | --- |', f'| rope | 0.00 ± {half:.2f} |  |',
  ]
