"""A sweep: the table's numbers by hand, which runs are repeated, what is refused."""

import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from posjax import config as config_lib
from posjax import run as run_lib
from posjax.config import ROOT
from posjax.sweep import __main__ as sweep
from posjax.sweep import experiment, jobs, table
from posjax.sweep import runs as runs_lib
from tests.sweep import processes

EXPERIMENT = '''"""Far is hard.

Someone 2026, arXiv 0000.00000.
"""

ARMS = {
  'rope': ('--config=rope',),
  'short': ('--config=learned', '--config.encoding.learned.length=64'),
  'alibi': ('--config=alibi',),
}
SEEDS = (0, 1, 2)
'''
WEIGHTS = {'rope': 1234, 'short': 5678, 'alibi': 1234, 'nope': 1234}
BITS = {'rope': (1.0, 2.0, 4.0), 'short': (3.0, 3.0, 3.0), 'alibi': (2.5, 2.5, 2.75)}
HEAD = 'bits/byte by length in bytes, mean and 95 % interval; '
TESTS = {
  'non-overlapping': 'non-overlapping, the same 100 bytes at each length', 'sliding': 'sliding, 9',
}


class Program:
  """Stands in for posjax.main: records the runs and writes the files of an evaluation."""

  def __init__(self):
    self.calls = []
    self.fails = {}  # a run's folder to its exit code, or to 'SIGTERM'
    self.changes = {}  # a run's folder to changed values in its evaluation.json
    self.floors = {}  # a length to the score of a guess

  def start(self, command, stdout, stderr, env):
    asked = run_lib.parse(['posjax', *command[3:]])
    folder = Path(asked.workdir)
    self.calls.append(folder.name)
    assert command[:3] == [sys.executable, '-m', 'posjax.main']
    assert stderr == subprocess.STDOUT and folder.is_dir()
    fails = self.fails.get(folder.name)
    if fails == 'SIGTERM':
      return Stopped()
    if fails:
      stdout.buffer.write(b'step 6, \xff\nposjax: step 7: loss nan\n\n')
      return processes.Ended(fails)
    result = self.evaluation(asked.config, *folder.name.split('-')) | {'name': asked.name}
    result |= self.changes.get(folder.name, {})
    (folder / 'evaluation.json').write_text(json.dumps(result))
    return processes.Ended(0)

  def evaluation(self, config, arm, seed):
    bits = BITS[arm][int(seed)]
    beyond = None if arm == 'short' else 2 * bits
    values = {
      ('non-overlapping', 64): bits, ('non-overlapping', 128): beyond,
      ('sliding', 64): bits / 2, ('sliding', 128): beyond,
    }
    units = {'nats/byte': math.log(2), 'bits/byte': 1}
    return {
      'step': config.train.steps, 'config': config_lib.to_dict(config),
      'corpus': 'text:numbers: 1 files', 'sha256': 'abc', 'code': '0.1.0+1234567',
      'weights': WEIGHTS[arm], 'devices': '1 x cpu',
      'limit': 64 if arm == 'short' else None, 'tests': TESTS, 'unit': 'byte',
      'shown': ['bits/byte'], 'by_position': {'sliding': {'bits/byte': [bits] * 64}},
      'records': [
        {
          'test': test, 'metric': metric, 'length': length,
          'value': value and value * of_a_bit, 'floor': self.floors.get(length),
        }
        for (test, length), value in values.items() for metric, of_a_bit in units.items()
      ],
    }


class Stopped(processes.Ended):
  """A process during which only the sweep gets SIGTERM."""

  def __init__(self):
    super().__init__(None)

  def poll(self):
    os.kill(os.getpid(), signal.SIGTERM)
    return super().poll()

  def terminate(self):
    self.code = 42


@pytest.fixture
def program(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  Path('far.py').write_text(EXPERIMENT)
  program = Program()
  processes.replace(monkeypatch, program.start)
  return program


def run(line='', file='far.py'):
  return sweep.main([file, *shlex.split(line)])


def manifest():
  return json.loads(Path('runs/sweeps/far/manifest.json').read_text())


def statuses():
  return {f'{entry["arm"]}-{entry["seed"]}': entry['status'] for entry in manifest()['runs']}


def message(capsys, *arguments):
  """Returns the one-line error of a refused call."""
  assert run(*arguments) == 2
  captured = capsys.readouterr()
  said = [line for line in captured.err.splitlines() if line.startswith('posjax: ')]
  assert len(said) == 1 and captured.err.endswith(f'{said[0]}\n')
  return said[0]


def change(old, new):
  Path('far.py').write_text(EXPERIMENT.replace(old, new))


def test_table(program, capsys):
  """Student's t: t(0.975, 2) = 4.302653, and the deviation of 1, 2, 4 is sqrt(7/3)."""
  assert 4.302653 * math.sqrt(7 / 3) / math.sqrt(3) == pytest.approx(3.7946, abs=1e-4)
  assert run() == 0
  text = Path('runs/sweeps/far/table.md').read_text()
  assert text == '\n'.join([
    '# Far is hard.',
    '',
    '1,000 steps; seeds 0, 1, 2; text:numbers: 1 files; posjax 0.1.0+1234567',
    '',
    HEAD + TESTS['non-overlapping'],
    '',
    '| arm | weights | 64 | 128 |',
    '| --- | --- | --- | --- |',
    '| rope | 1,234 | 2.33 ± 3.79 | 4.67 ± 7.59 |',
    '| short | 5,678 | 3.00 ± 0.00 | beyond 64 |',
    '| alibi | 1,234 | 2.58 ± 0.36 | 5.17 ± 0.72 |',
    '',
    HEAD + 'sliding, 9',
    '',
    '| arm | weights | 64 | 128 |',
    '| --- | --- | --- | --- |',
    '| rope | 1,234 | 1.17 ± 1.90 | 4.67 ± 7.59 |',
    '| short | 5,678 | 1.50 ± 0.00 | beyond 64 |',
    '| alibi | 1,234 | 1.29 ± 0.18 | 5.17 ± 0.72 |',
    '',
  ])
  out = capsys.readouterr().out
  assert text in out
  written = {'table': 'table.md', 'figure': 'by_length.png', 'manifest': 'manifest.json'}
  lines = (f'{what + ":":<10}runs/sweeps/far/{file}\n' for what, file in written.items())
  assert ''.join(lines) in out
  assert Path('runs/sweeps/far/by_length.png').read_bytes().startswith(b'\x89PNG')
  assert 'next:     python -m posjax.sweep far.py --workdir=runs/sweeps/far  #' in out


@pytest.mark.parametrize('bits, text', [
  ((1.0,), '1.00'),
  ((1.0, 2.0), '1.50 ± 6.35'),  # t(0.975, 1) = 12.706205
  ((1.0, 2.0, 4.0), '2.33 ± 3.79'),
])
def test_interval_by_number_of_seeds(bits, text):
  assert table.cell(list(bits), None) == text


def test_the_score_of_a_guess_is_a_row(program):
  program.floors = {64: 8.0, 128: 7.994}
  assert run('--arms=rope --seeds=0') == 0
  text = Path('runs/sweeps/far/table.md').read_text()
  guess = '| (a guess) | | 8.00 | 7.99 |\n'
  assert f'| rope | 1,234 | 1.00 | 2.00 |\n{guess}' in text
  assert text.endswith(f'| rope | 1,234 | 0.50 | 2.00 |\n{guess}') and text.count(guess) == 2


def test_only_missing_runs_are_executed(program, capsys):
  assert run('--arms=alibi,rope --seeds=1') == 0
  assert program.calls == ['rope-1', 'alibi-1']
  out = capsys.readouterr().out
  assert '| rope | 1,234 | 2.00 | 4.00 |' in out and '| short' not in out
  assert '1,000 steps; seeds 0, 1, 2; text' in out  # the seeds of the experiment
  assert 'Not finished: rope, seed 0; rope, seed 2; short, seed 0;' in out
  assert run() == 0
  assert len(program.calls) == len(set(program.calls)) == 9
  shown = re.findall(r'(\d+)/9 \[', capsys.readouterr().err)
  assert (shown[0], shown[-1]) == ('2', '9')
  Path('runs/sweeps/far/manifest.json').unlink()
  assert run() == run('--table') == 0
  assert len(program.calls) == 9
  assert 'Not finished' not in capsys.readouterr().out
  assert set(statuses().values()) == {'done'}


def test_a_run_shows_its_loss_and_step_while_it_runs(program, monkeypatch, capsys):
  """At the third poll it has completed 250 of 1,000 steps in 20 s, and is writing a line."""
  running = processes.Ended(0)
  running.looks = 0

  def poll():
    running.looks += 1
    folder = Path('runs/sweeps/far/rope-1')
    (folder / 'output.txt').write_text('weights 3\ncompiling the training step\n')
    if running.looks == 2:
      for name, values in ('metrics', {'loss': 2.71828}), ('speed', {'seconds': 20.0}):
        lines = [json.dumps({'step': step, **values}) for step in range(10, 260, 10)]
        (folder / f'{name}.jsonl').write_text('\n'.join([*lines, '{"step": 260, "lo']))
    return 0 if running.looks == 4 else None

  running.poll = poll
  processes.replace(monkeypatch, lambda *_, **__: running)
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
  monkeypatch.setenv('COLUMNS', '80')
  run('--arms=rope --seeds=1')
  shown = capsys.readouterr().err
  shown = re.split(r'[\r\n]+', shown.partition('posjax: ')[0])
  now = [line for line in shown if 'loss 2.718, step 250/1000, 01:00 left: rope, seed 1' in line]
  assert now[0].startswith('0/1 [') and len(now[0]) < 80
  assert any('0/1 [00:00<?] rope, seed 1: compiling the training step' in line for line in shown)
  assert running.looks == 4


def test_a_table_of_some_arms(program, capsys):
  run('--arms=rope,short')
  capsys.readouterr()
  assert run('--table --arms=short,alibi --seeds=0,2') == 0
  assert len(program.calls) == 6
  out = capsys.readouterr().out
  assert '; seeds 0, 2; ' in out and 'Not finished: alibi, seed 0; alibi, seed 2\n' in out
  assert '| short | 5,678 | 3.00 ± 0.00 | beyond 64 |' in out and '| rope' not in out


def test_adding_an_arm_runs_only_that_arm(program, monkeypatch):
  run()
  change('SEEDS', "ARMS['nope'] = ('--config=nope',)\nSEEDS")
  monkeypatch.setitem(BITS, 'nope', (5.0, 5.0, 5.0))
  assert run() == 0
  assert program.calls[9:] == ['nope-0', 'nope-1', 'nope-2']
  assert Path('runs/sweeps/far/table.md').read_text().count('| nope | 1,234 | 5.00 ± 0.00 |') == 1


@pytest.mark.parametrize('old, new, said', [
  ("'--config=alibi'", "'--config=alibi', '--config.model.dim=32'", 'model.dim 64 -> 32'),
  (
    "'--config=alibi'", "'--config=nope'",
    'encoding.layers alibi -> nope, encoding.alibi.bias_max 8.0 -> absent, '
    'encoding.alibi.factor 1.0 -> absent, encoding.alibi.learned no -> absent',
  ),
])
def test_a_changed_arm_is_refused(program, capsys, old, new, said):
  run()
  change(old, new)
  assert message(capsys) == (
    f'posjax: runs/sweeps/far/alibi-0: arm alibi ran with another config, {said}; delete that '
    'folder, or choose another --workdir'
  )
  assert len(program.calls) == 9
  assert run('--workdir=other') == 0
  assert len(program.calls) == 18 and Path('other/alibi-2/evaluation.json').exists()


def test_another_evaluation_is_refused(program, capsys):
  run()
  every = "ARMS = {arm: (*ARMS[arm], '--config.task.text.stride=16') for arm in ARMS}"
  change('SEEDS', f'{every}\nSEEDS')
  assert 'arm rope ran with another config, task.text.stride absent -> 16;' in message(capsys)


def test_settings_without_effect_on_results_may_change(program):
  run()
  change("'--config=alibi'", "'--config=alibi', '--config.mesh.data=1'")
  assert run() == 0


def test_a_failed_run_does_not_stop_the_others(program, capsys):
  program.fails = {'rope-1': 3, 'alibi-2': -9}
  assert run() == 1
  assert len(program.calls) == 9
  captured = capsys.readouterr()
  assert captured.err.endswith(
    'posjax: rope, seed 1: exit code 3: posjax: step 7: loss nan; '
    'see runs/sweeps/far/rope-1/output.txt\n'
    'posjax: alibi, seed 2: exit code -9: posjax: step 7: loss nan; '
    'see runs/sweeps/far/alibi-2/output.txt\n'
  )
  assert '| rope | 1,234 | 2.50 ± 19.06 |' in captured.out  # seeds 0 and 2
  assert 'Not finished: rope, seed 1; alibi, seed 2\n' in captured.out
  assert statuses()['rope-1'] == 'failed 3' and statuses()['rope-2'] == 'done'
  program.fails = {}
  assert run() == 0
  assert program.calls[9:] == ['rope-1', 'alibi-2']
  lines = Path('runs/sweeps/far/rope-1/output.txt').read_text(errors='replace').splitlines()
  assert [line for line in lines if line.startswith('$ ')] == 2 * [
    '$ python -m posjax.main --config=rope --workdir=runs/sweeps/far/rope-1 --config.seed=1'
  ]


@pytest.mark.parametrize('code, status', [
  (130, 'stopped'), (42, 'stopped'), (0, 'stopped'), (2, 'failed 2'), (-9, 'failed -9'),
])
def test_a_run_stopped_by_a_signal_has_not_failed(program, code, status):
  program.fails = {'rope-0': code} if code else {}
  program.changes = {'rope-0': {'step': 500}}
  assert run('--arms=rope --seeds=0') == 1
  assert statuses()['rope-0'] == status


def test_all_runs_may_fail(program, capsys):
  program.fails = {f'rope-{seed}': 2 for seed in range(3)}
  assert run('--arms=rope') == 1
  assert set(statuses().values()) == {'failed 2', 'missing'}
  assert not Path('runs/sweeps/far/table.md').exists()


def test_an_interrupted_sweep_resumes(program, monkeypatch):
  monkeypatch.setattr(sweep.program, 'hard_exit', lambda error: (error.exit_code, str(error)))
  program.fails = {'short-0': 'SIGTERM'}
  assert run() == (42, 'SIGTERM: stopped')
  assert statuses() == {
    **dict.fromkeys(('rope-0', 'rope-1', 'rope-2'), 'done'), 'short-0': 'stopped',
    **dict.fromkeys(('short-1', 'short-2', 'alibi-0', 'alibi-1', 'alibi-2'), 'missing'),
  }
  program.fails = {}
  assert run() == 0
  assert program.calls[4:] == ['short-0', 'short-1', 'short-2', 'alibi-0', 'alibi-1', 'alibi-2']


def test_the_seed_of_a_run_overrides_that_of_an_arm(program):
  change("'--config=alibi'", "'--config=alibi', '--config.seed=7'")
  loaded = experiment.load(Path('far.py'))
  runs = runs_lib.plan(loaded, loaded.tier('cpu'), Path('out'))
  assert [run.config.seed for run in runs] == 3 * [0, 1, 2]


def test_paths_may_begin_with_a_tilde(program, monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir('/')
  assert run('--arms=rope --seeds=0 --workdir=~/out', file='~/far.py') == 0
  assert (tmp_path / 'out/rope-0/evaluation.json').exists()


def test_a_table_names_all_versions_of_its_runs(program):
  program.changes = {'alibi-1': {'code': '0.2.0'}}
  run()
  heading = Path('runs/sweeps/far/table.md').read_text().splitlines()[2]
  assert heading.endswith('; posjax 0.1.0+1234567, 0.2.0')
  assert manifest()['code'] == ['0.1.0+1234567', '0.2.0']


@pytest.mark.parametrize('changed, said', [
  ({'corpus': 'text:others'}, 'corpus text:numbers: 1 files -> text:others'),
  ({'sha256': 'def'}, 'sha256 abc -> def'),
  (
    {'tests': TESTS | {'sliding': 'sliding, 8'}},
    'tests.sliding sliding, 9 -> sliding, 8',
  ),
])
def test_incomparable_results_are_refused(program, capsys, changed, said):
  program.changes = {'alibi-1': changed}
  assert message(capsys) == f'posjax: cannot compare rope, seed 0 with alibi, seed 1: {said}'
  assert message(capsys, '--table').endswith(said)
  assert len(program.calls) == 9


def test_a_run_evaluated_too_early_is_not_done(program):
  program.changes = {'alibi-1': {'step': 500}}
  assert run() == 1
  assert statuses()['alibi-1'] == 'stopped'
  program.changes = {}
  assert run() == 0
  assert program.calls[9:] == ['alibi-1'] and set(statuses().values()) == {'done'}


# Changes to the experiment's file and arguments, and the text that the message must contain.
MISTAKES = {
  ('', '', '--arms=rope,alibbi'):
    '--arms=rope,alibbi: did you mean alibi? Each must be one of rope, short, alibi',
  ('', '', '--seeds=0,3'): '--seeds=0,3: each must be one of 0, 1, 2',
  ('', '', '--arms=rope,'): '--arms=rope,: each must be one of rope, short, alibi',
  ('', '', '--table'): 'runs/sweeps/far: no run is done yet',
  ('', '', '--table --arms=rope'): 'runs/sweeps/far: no run is done yet',
  ('', '', '--arm=rope'): 'unrecognized arguments: --arm=rope',
  ("'--config=alibi'", "'--config=alibbi'", ''):
    'far.py: arm alibi: --config=alibbi: no such file',
  ("'--config=alibi'", "'--config=alibi', '--config.model.layrs=3'", ''):
    'far.py: arm alibi: --config.model.layrs: no such key; did you mean model.layers',
  ("'--config=alibi'", "'--config=alibi', '--config.model.heads=6'", '--arms=rope'):
    'far.py: arm alibi: model.heads = 6: must be a multiple of model.kv_heads = 4',
  ("'--config=alibi'", "'--config=alibi', '--config.train.steps=500'", ''):
    'cannot compare rope, seed 0 with alibi, seed 0: train.steps 1000 -> 500',
  ("'--config=alibi'", "'--config=alibi', '--config.data.test=train[:1%]'", ''):
    'cannot compare rope, seed 0 with alibi, seed 0: data.test test -> train[:1%]',
  ("'--config=alibi'", "'--config=alibi', '--config.train.length=32'", ''):
    'cannot compare rope, seed 0 with alibi, seed 0: train.length 64 -> 32',
  ("'--config=alibi'", "'--config=alibi', '--config.task.text.windows=8'", ''):
    'cannot compare rope, seed 0 with alibi, seed 0: task.text.windows absent -> 8',
  ("('--config=alibi',)", "('--config=alibi')", ''):
    "far.py: ARMS must be a dict like {'rope': ('--config=configs/rope.py',)}",
  ('ARMS', 'ARM', ''): 'far.py: ARMS must be a dict like',
  ('(0, 1, 2)', '()', ''): 'far.py: SEEDS must be a tuple of different integers, such as (0, 1, 2)',
  ('(0, 1, 2)', '(0, 0)', ''): 'far.py: SEEDS must be a tuple of different integers',
  ('(0, 1, 2)', '3', ''): 'far.py: SEEDS must be a tuple of different integers',
  ('(0, 1, 2)', '(-1,)', ''): 'far.py: arm rope: seed = -1: must be in [0, 4294967295]',
  ('(0, 1, 2)', 'range(3', ''): "far.py: SyntaxError: '(' was never closed (far.py, line 11)",
  ('(0, 1, 2)', '1 / 0', ''): 'far.py:11: ZeroDivisionError: division by zero',
  (EXPERIMENT.partition('ARMS')[0], '', ''):
    'far.py: its docstring must state the claim and the paper',
}


@pytest.mark.parametrize('mistake', MISTAKES, ids=lambda mistake: ' '.join(mistake[1:]) or 'doc')
def test_mistake_is_one_line_before_any_run(program, capsys, mistake):
  old, new, line = mistake
  change(old, new)
  assert message(capsys, line).startswith(f'posjax: {MISTAKES[mistake]}')
  assert program.calls == [] and not Path('runs').exists()


@pytest.mark.parametrize('arm', [
  '../../x', '/tmp/x', '', '.', '..', 'a/b', '.hidden', '-rf', '_', 'a b', 'a,b', 'a|b', 'a\nb',
  'a\0', '<script>', 'x' * 61, 1, None, ('a',),
])
def test_an_arm_that_cannot_name_a_folder(program, capsys, arm):
  change("'alibi'", repr(arm))
  assert message(capsys) == (
    f'posjax: far.py: ARMS: {arm!r} cannot name a folder: an arm begins with a letter or a digit '
    'and has letters, digits and . _ + = - only, 60 at most'
  )
  assert program.calls == [] and {path.name for path in Path().iterdir()} == {'far.py'}


@pytest.mark.parametrize('arm', [
  'rope+fox', 'local_global', 'base=5e5', '2-layers', 'größe', 'v1', 'x' * 60,
])
def test_an_arm_that_can_name_a_folder(program, arm):
  change("'alibi'", repr(arm))
  assert [*experiment.load(Path('far.py')).arms] == ['rope', 'short', arm]


def test_no_such_experiment(program, capsys):
  assert message(capsys, '', 'near.py') == (
    'posjax: near.py: no such file; an example is experiments/extrapolation.py'
  )


def test_manifest(program):
  program.fails = {'short-0': 3}
  run('--arms=rope,short')
  contents = manifest()
  assert (contents['experiment'], contents['claim']) == ('far.py', 'Far is hard.')
  assert contents['code'] == ['0.1.0+1234567']
  assert contents['python'] == [platform.python_version()]
  assert contents['jax'] == [importlib.metadata.version('jax')]
  assert len(contents['runs']) == 9
  entries = {(entry['arm'], entry['seed']): entry for entry in contents['runs']}
  done = entries['rope', 2]
  assert done['command'] == (
    'python -m posjax.main --config=rope --workdir=runs/sweeps/far/rope-2 --config.seed=2'
  )
  assert done['directory'] == 'runs/sweeps/far/rope-2'
  assert (done['status'], done['exit_code'], done['step']) == ('done', 0, 1000)
  assert 0 <= done['seconds'] < 10
  assert [record for record in done['records'] if record['length'] == 128] == [
    {'test': test, 'metric': metric, 'length': 128, 'value': value, 'floor': None}
    for test in TESTS for metric, value in (('nats/byte', 8 * math.log(2)), ('bits/byte', 8.0))
  ]
  assert done['tests'] == TESTS and done['config']['seed'] == 2
  assert 'by_position' not in done and 'blocks' not in done
  assert entries['short', 0]['status'] == 'failed 3' and 'records' not in entries['short', 0]
  assert entries['alibi', 0] == {
    'arm': 'alibi', 'seed': 0, 'rate': None, 'directory': 'runs/sweeps/far/alibi-0',
    'status': 'missing',
    'command':
      'python -m posjax.main --config=alibi --workdir=runs/sweeps/far/alibi-0 --config.seed=0',
  }
  assert not list(Path('runs').rglob('*.tmp'))


def test_seconds_are_those_of_all_attempts(program, monkeypatch):
  ticks = iter((0.0, 10.0, 100.0, 107.5))
  monkeypatch.setattr(sweep.program, 'hard_exit', lambda error: error.exit_code)
  monkeypatch.setattr(jobs, 'time', types.SimpleNamespace(perf_counter=lambda: next(ticks)))
  program.fails = {'rope-0': 'SIGTERM'}
  assert run('--arms=rope --seeds=0') == 42
  assert manifest()['runs'][0]['seconds'] == 10.0
  program.fails = {}
  assert run('--arms=rope --seeds=0') == 0
  assert manifest()['runs'][0]['seconds'] == 17.5
  assert manifest()['runs'][0]['cpu_seconds'] == 2 * (1.25 + 0.5)  # of `processes`
  assert manifest()['runs'][0]['peak_mebibytes'] == 3


SWEPT = [path for path in (ROOT / 'experiments').rglob('*.py') if '\nARMS =' in path.read_text()]
TIERS = [
  pytest.param(path, tier, marks=[] if tier == 'cpu' else [pytest.mark.slow])
  for path in sorted(SWEPT) for tier in experiment.load(path).known_tiers()
]


@pytest.mark.parametrize('path, tier', TIERS, ids=lambda value: getattr(value, 'stem', value))
def test_all_experiments_can_be_run(path, tier, monkeypatch, tmp_path):
  """All arms have valid configs that can be compared, and tests at the lengths of the claims."""
  monkeypatch.chdir(ROOT)
  loaded = experiment.load(path)
  runs_lib.check(loaded, loaded.tier(tier), tmp_path)


def test_program_without_jax():
  code = 'import sys, posjax.sweep; print(*{"jax", "flax", "numpy", "scipy"} & {*sys.modules})'
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
  )
  assert done.stdout.split() == []


TINY = (
  'data.corpus=text:numbers.txt', 'train.steps=2', 'train.batch=8', 'train.length=16',
  'optimizer.warmup=1', 'model.dim=32', 'model.head_dim=8', 'model.hidden=64',
  'task.text.validation_tokens=512', 'task.text.tokens=512', 'task.text.stride=8',
  'task.text.windows=8', 'evaluate.multiples=1,2',
)


@pytest.mark.slow
def test_a_sweep_killed_in_its_second_run_resumes(tmp_path):
  (tmp_path / 'numbers.txt').write_text(
    '\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800))
  )
  (tmp_path / 'far.py').write_text(
    f'"""Far is hard."""\nTINY = tuple(f"--config.{{key}}" for key in {TINY})\n'
    'ARMS = {name: (f"--config={name}", *TINY) for name in ("nope", "alibi")}\nSEEDS = (0, 1)\n'
  )
  command = [sys.executable, '-m', 'posjax.sweep', 'far.py', '--workdir=out']
  caching = {
    'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'compiled'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.2',
  }
  settings = dict(cwd=tmp_path, env=os.environ | caching)
  process = subprocess.Popen(command, start_new_session=True, **settings)
  while not (tmp_path / 'out' / 'nope-1').exists():
    assert process.poll() is None
    time.sleep(0.1)
  os.killpg(process.pid, signal.SIGKILL)
  process.wait()
  first = (tmp_path / 'out' / 'nope-0' / 'evaluation.json').stat().st_mtime
  assert not (tmp_path / 'out' / 'nope-1' / 'evaluation.json').exists()
  done = subprocess.run(command, capture_output=True, text=True, check=True, **settings)
  assert (tmp_path / 'out' / 'nope-0' / 'evaluation.json').stat().st_mtime == first
  contents = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
  assert [entry['status'] for entry in contents['runs']] == 4 * ['done']
  row = r'\| (?:nope|alibi) \| 28,864(?: \| \d\.\d\d ± \d+\.\d\d){2} \|'
  assert len(re.findall(row, done.stdout)) == 4
  assert (tmp_path / 'out' / 'table.md').read_text() in done.stdout
