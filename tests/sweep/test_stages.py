"""Stages of a sweep: learning rates, arms, arms after them; tiers, shared runs, shares of runs."""

import functools
import json
import math
import os
import re
import shlex
import signal
from pathlib import Path

import pytest

from posjax import config as config_lib
from posjax import warm_start
from posjax.sweep import __main__ as sweep
from posjax.sweep import runs as runs_lib
from tests.sweep import processes

EXPERIMENT = '''"""Far is hard.

Someone 2026, arXiv 0000.00000.
"""

from posjax.sweep.experiment import Claim, Tier

ARMS = {'rope': ('--config=rope',), 'alibi': ('--config=alibi',)}
SEEDS = (10, 11, 12)
RATES = (1e-3, 1e-2)
'''
CLAIM = '''CLAIMS = (
  Claim('ALiBi is better', lambda at: at('alibi', 128) - at('rope', 128), below=-0.5, paper='p. 3'),
)
'''
TRIED = ['rates/rope-0.001', 'rates/rope-0.01', 'rates/alibi-0.001', 'rates/alibi-0.01']
ARMS = [f'{arm}-{seed}' for arm in ('rope', 'alibi') for seed in (10, 11, 12)]


parsed = functools.cache(runs_lib.PROGRAMS['posjax.main'])  # many tests have the same runs


class Program:
  """Stands in for posjax.main and posjax.ngram; `calls` lists the folders of the runs."""

  def __init__(self):
    self.calls, self.commands = [], {}
    self.fails = {}  # a folder to its exit code
    self.validation = {}  # a folder to its validation loss
    self.bits = {}  # the beginning of a folder's name to the result of its test

  def start(self, command, stdout, stderr, env):
    _, _, program, *arguments = command
    asked = runs_lib.PROGRAMS[program](tuple(arguments))
    folder = Path(asked.workdir)
    name = '/'.join(folder.parts[-2 if folder.parent.name == 'rates' else -1 :])
    self.calls.append(name)
    self.commands[name] = command
    if code := self.fails.get(name):
      stdout.write('posjax: step 7: loss nan\n')
      return processes.Ended(code)
    rows = [{'step': 1, 'loss': 2.0, 'validation_loss': 5.0}]
    rows += [{'step': 2, 'loss': 1.0, 'validation_loss': self.validation.get(name, 4.0)}]
    (folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    (folder / 'evaluation.json').write_text(json.dumps(self.evaluation(asked.config, name)))
    return processes.Ended(0)

  def evaluation(self, config, name):
    bits = next((bits for start, bits in self.bits.items() if name.startswith(start)), 2.0)
    lengths = [round(config.train.length * multiple) for multiple in config.evaluate.multiples]
    test, metric = 'non-overlapping', 'bits/byte'
    return {
      'step': config.train.steps, 'config': config_lib.to_dict(config), 'corpus': 'text',
      'sha256': 'abc', 'code': '0.1.0', 'weights': 9, 'limit': None, 'tests': {test: test},
      'unit': 'byte', 'shown': [metric],
      'blocks': {test: {str(n): {metric: 16 * [[bits, 8.0]]} for n in lengths}},
      'records': [
        {'test': test, 'metric': metric, 'length': n, 'value': bits, 'floor': None}
        for n in lengths
      ],
    }


@pytest.fixture
def program(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  Path('far.py').write_text(EXPERIMENT)
  program = Program()
  processes.replace(monkeypatch, program.start)
  monkeypatch.setitem(runs_lib.PROGRAMS, 'posjax.main', parsed)
  monkeypatch.setattr(sweep.figure, 'draw', lambda *_: None)
  return program


def run(line='', file='far.py'):
  return sweep.main([file, *shlex.split(line)])


def manifest(folder='far'):
  return json.loads(Path(f'runs/sweeps/{folder}/manifest.json').read_text())


def add(text, file='far.py'):
  Path(file).write_text(EXPERIMENT + text)


def said(capsys):
  return capsys.readouterr().err.splitlines()[-1]


def test_the_best_rate_on_validation_is_used(program):
  """Although the other one is better on the test, and its first validation was the same."""
  program.validation = {'rates/rope-0.01': 3.0, 'rates/alibi-0.01': 4.5}
  program.bits = {'rates/rope-0.001': 0.5, 'rates/alibi-0.01': 0.5}
  assert run() == 0
  assert program.calls == TRIED + ARMS
  for name in TRIED:
    command = program.commands[name]
    assert '--config.seed=9' in command and '--config.evaluate.multiples=1' in command
    assert f'--config.optimizer.learning_rate={name.split("-")[1]}' in command
  for name in ARMS:
    rate = '0.01' if name.startswith('rope') else '0.001'
    command = program.commands[name]
    assert f'--config.optimizer.learning_rate={rate}' in command
    assert f'--config.seed={name.split("-")[1]}' in command
    assert not any('multiples' in argument for argument in command)
  assert manifest()['rates'] == {
    'rope': {'tried': {'0.001': 4.0, '0.01': 3.0}, 'chosen': '0.01'},
    'alibi': {'tried': {'0.001': 4.0, '0.01': 4.5}, 'chosen': '0.001'},
  }
  assert manifest()['tuning_seed'] == 9
  text = Path('runs/sweeps/far/table.md').read_text()
  assert '| rope | 4.000 | **3.000** |\n| alibi | **4.000** | 4.500 |' in text
  assert '; seeds 10, 11, 12; ' in text and '| rope | 9 | 2.00 ± 0.00 |' in text
  assert run() == 0 and len(program.calls) == 10


def test_a_diverged_rate_counts_as_tried(program):
  program.fails = {'rates/rope-0.01': 3}
  assert run() == 0
  assert program.calls == TRIED + ARMS
  assert manifest()['rates']['rope'] == {
    'tried': {'0.001': 4.0, '0.01': 'diverged'}, 'chosen': '0.001',
  }
  assert '| rope | **4.000** | diverged |' in Path('runs/sweeps/far/table.md').read_text()
  assert run() == 0 and len(program.calls) == 10


def test_an_infinite_validation_loss_is_a_diverged_rate(program):
  program.validation = {'rates/rope-0.001': None}  # null in metrics.jsonl
  assert run() == 0
  assert manifest()['rates']['rope']['tried'] == {'0.001': 'diverged', '0.01': 4.0}


def test_an_arm_that_diverges_at_every_rate_is_one_line(program, capsys):
  program.fails = {'rates/rope-0.001': 3, 'rates/rope-0.01': 3}
  assert run() == 2
  assert program.calls == TRIED
  assert said(capsys) == 'posjax: arm rope: diverged at every learning rate of RATES'
  assert run('--arms=alibi') == 0
  assert program.calls[4:] == ARMS[3:]


def test_a_failed_rate_stops_before_the_arms(program, capsys):
  program.fails = {'rates/rope-0.01': 2}
  assert run() == 1
  assert program.calls == TRIED
  assert said(capsys).startswith('posjax: rope, seed 9 at learning rate 0.01: exit code 2: ')
  program.fails = {}
  assert run() == 0
  assert program.calls[4:] == ['rates/rope-0.01', *ARMS]


def test_arms_that_are_not_tuned(program):
  """An arm with a learning rate of its own, and one that counts."""
  own = "ARMS['fixed'] = ('--config=nope', '--config.optimizer.learning_rate=0.5')\n"
  add(own + "ARMS['4-gram'] = ('posjax.ngram', '--config=rope', '--order=4')\n")
  assert run('--seeds=10') == 0
  assert program.calls == [*TRIED, 'rope-10', 'alibi-10', 'fixed-10', '4-gram-10']
  assert '--config.optimizer.learning_rate=0.5' in program.commands['fixed-10']
  assert not any('learning_rate' in argument for argument in program.commands['4-gram-10'])


def test_some_arms_need_only_their_own_rates(program):
  program.validation = {'rates/alibi-0.01': 3.0}
  assert run('--arms=alibi') == 0
  assert program.calls == TRIED[2:] + ARMS[3:]
  assert '--config.optimizer.learning_rate=0.01' in program.commands['alibi-10']
  assert run() == 0
  assert program.calls[5:] == TRIED[:2] + ARMS[:3]


def test_another_best_rate_is_refused(program, capsys):
  run()
  add('RATES = (1e-3, 1e-2, 1e-1)\n')
  program.validation = {'rates/rope-0.1': 1.0}
  assert run() == 2
  assert 'rope-10: arm rope ran with another config, optimizer.learning_rate 0.001 -> 0.1;' in (
    said(capsys)
  )


@pytest.fixture
def after(program, monkeypatch):
  """An arm that starts from the run of rope; this fake writes no checkpoints to identify."""
  identify = lambda init: init.update(source=f'identified {init.run}')
  monkeypatch.setattr(warm_start, 'identify', identify)
  add("THEN = {'longer': ('--config=rope', '--config.init.run={rope}', '--config.train.steps=9',"
      " '--config.optimizer.warmup=1')}\n")
  return program


def test_arms_that_start_after_the_others(after):
  assert run('--seeds=10,11') == 0
  assert after.calls == TRIED + [name for name in ARMS if name[-2:] != '12']
  assert [entry['arm'] for entry in manifest()['runs']][-1] == 'alibi'
  assert run() == 0
  assert after.calls[8:] == ['rope-12', 'alibi-12', 'longer-10', 'longer-11', 'longer-12']
  for seed in (10, 11, 12):
    command = after.commands[f'longer-{seed}']
    assert f'--config.init.run=runs/sweeps/far/rope-{seed}' in command
    assert not any('learning_rate' in argument for argument in command)
  text = Path('runs/sweeps/far/table.md').read_text()
  assert text.count('# Far is hard.') == 2 and '| longer | 9 | 2.00 ± 0.00 |' in text
  assert run('--against=rope') == 0  # in the first table only
  assert Path('runs/sweeps/far/table.md').read_text().count('minus that of rope') == 1


def test_a_mistake_in_a_later_arm_is_found_before_any_run(after, capsys):
  add("THEN = {'longer': ('--config=rope', '--config.init.run={rope}', '--config.modle.dim=9')}\n")
  assert run() == 2 and after.calls == []
  assert said(capsys).startswith('posjax: far.py: arm longer: --config.modle.dim: no such key;')


TIERS = '''TIERS = {'gpu': Tier(
  ('--config.train.steps=500', '--config.train.length=128'), size='small',
  seeds=(1,), rates=(0.5,), needs='a GPU',
)}
ARMS['rope'] = ('--config=rope', '--config.train.steps=50')
ARMS['alibi'] = ('--config=alibi:base',)
'''


def test_a_tier_overrides_flags_size_seeds_and_rates(program):
  add(TIERS)
  assert run('--tier=gpu') == 0
  assert program.calls == ['rates/rope-0.5', 'rates/alibi-0.5', 'rope-1', 'alibi-1']
  assert program.commands['rope-1'][3:] == [
    '--config=rope:small', '--config.train.steps=500', '--config.train.length=128',
    '--config.optimizer.learning_rate=0.5', '--workdir=runs/sweeps/far-gpu/rope-1',
    '--config.seed=1',
  ]
  assert '--config=alibi:base' in program.commands['alibi-1']  # the arm's own size
  assert manifest('far-gpu')['tier'] == 'gpu'


def test_every_file_has_a_smoke_test(program):
  add(CLAIM)
  assert run('--tier=smoke') == 0
  assert program.calls == ['rates/rope-0.001', 'rates/alibi-0.001', 'rope-10', 'alibi-10']
  assert all('--config.train.steps=20' in command for command in program.commands.values())
  contents = manifest('far-smoke')
  assert (contents['verdicts'], contents['outcome']) == ([], '')
  assert contents['claims'] == [
    {'text': 'ALiBi is better', 'criterion': '< -0.5', 'paper': 'p. 3'},
  ]


def test_an_unknown_tier_is_one_line(program, capsys):
  add(TIERS)
  assert run('--tier=gpuu') == 2 and program.calls == []
  assert said(capsys) == (
    'posjax: --tier=gpuu: did you mean gpu? It must be one of smoke, cpu, gpu'
  )


@pytest.mark.parametrize('arguments, last', [
  (('--a=1', '--b=2', '--a=3'), ('--b=2', '--a=3')),
  (('--a.b=1', '--a=3', '--a.b=3'), ('--a=3', '--a.b=3')),
  (('--config', '4', '--order', '4'), ('--config', '4', '--order', '4')),
])
def test_latest(arguments, last):
  assert runs_lib.latest(arguments) == last


def test_experiments_share_the_runs_of_a_pool(program):
  add("POOL = 'both'\n")
  add("POOL = 'both'\nARMS['nope'] = ('--config=nope',)\n", 'near.py')
  assert run() == 0 and program.calls == TRIED + ARMS
  assert run(file='near.py') == 0
  assert program.calls[10:] == [
    'rates/nope-0.001', 'rates/nope-0.01', 'nope-10', 'nope-11', 'nope-12',
  ]
  assert {path.name for path in Path('runs/sweeps').iterdir()} == {'both', 'far', 'near'}
  assert not Path('runs/sweeps/both/manifest.json').exists()
  near = [entry['directory'] for entry in manifest('near')['runs'] if entry['rate'] is None]
  assert near == [f'runs/sweeps/both/{name}' for name in (*ARMS, 'nope-10', 'nope-11', 'nope-12')]
  run('--tier=smoke')
  assert Path('runs/sweeps/both-smoke/rope-10').is_dir()
  assert Path('runs/sweeps/far-smoke/manifest.json').exists()


def test_parts_are_disjoint_and_wait_for_all_rates(program):
  assert run('--part=1/2') == 0
  assert program.calls == TRIED[0::2]
  assert run('--part=2/2') == 0  # the last part finds all rates done
  assert program.calls[2:] == TRIED[1::2] + ARMS[1::2]
  assert run('--part=1/2') == 0
  assert program.calls[7:] == ARMS[0::2]


@pytest.mark.parametrize('part', ['0/2', '3/2', '1', '1/', '/2', 'a/b', '1/0', '-1/2', '²/3'])
def test_a_part_that_is_none(program, capsys, part):
  assert run(f'--part={part}') == 2 and program.calls == []
  assert said(capsys) == (
    f'posjax: --part={part}: must be K/N with K from 1 to N, such as 3/8'
  )


def test_list_prints_all_known_commands(program, capsys):
  assert run('--list') == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == '# learning rates' and len(lines) == 5
  assert lines[2] == (
    '   2  missing   python -m posjax.main --config=rope '
    '--workdir=runs/sweeps/far/rates/rope-0.01 --config.optimizer.learning_rate=0.01 '
    '--config.evaluate.multiples=1 --config.seed=9'
  )
  assert program.calls == [] and not Path('runs').exists()
  run('--seeds=10')
  capsys.readouterr()
  assert run('--list') == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line for line in lines if line.startswith('#')] == ['# learning rates', '# runs']
  assert len([line for line in lines if re.match(' +[0-9]+  done ', line)]) == 6
  assert len([line for line in lines if re.match(' +[0-9]+  missing ', line)]) == 4


def test_a_verdict_in_manifest_and_table(program):
  add(CLAIM)
  program.bits = {'alibi': 1.0}
  assert run() == 0
  contents = manifest()
  [found] = contents['verdicts']
  assert contents['outcome'] == found['outcome'] == 'reproduced'
  assert (found['value'], found['low'], found['high'], found['seeds']) == (-1, -1, -1, [-1, -1, -1])
  assert found['p'] == found['p_holm'] == 1e-4
  assert contents['measure'] == ['non-overlapping', 'bits/byte']
  line = '| ALiBi is better | < -0.5 | -1 | 0.0001 | reproduced |'
  assert line in Path('runs/sweeps/far/table.md').read_text()


def test_the_manifest_tells_which_criteria_are_older_than_the_results(program):
  add(CLAIM)
  run()
  [first] = manifest()['files']
  assert first['done'] == 0
  add(CLAIM.replace('-0.5', '-0.1'))
  run('--table')
  assert [version['done'] for version in manifest()['files']] == [0, 6]
  assert manifest()['files'][0] == first and manifest()['claims'][0]['criterion'] == '< -0.1'
  add(CLAIM)
  run('--table')
  assert len(manifest()['files']) == 2


def test_a_stopped_sweep_resumes(program, monkeypatch):
  monkeypatch.setattr(sweep.program, 'hard_exit', lambda error: error.exit_code)

  class Stopped(processes.Ended):
    def poll(self):
      os.kill(os.getpid(), signal.SIGTERM)
      return super().poll()

    def terminate(self):
      self.code = 42

  start = program.start
  stopped = iter([TRIED[1], ARMS[2]])
  waiting = [next(stopped)]

  def stopping(command, **settings):
    if command[-2].endswith(f'/{waiting[0]}'):
      waiting[0] = next(stopped, 'none')
      return Stopped(None)
    return start(command, **settings)

  processes.replace(monkeypatch, stopping)
  assert run() == 42 and program.calls == TRIED[:1]
  assert run() == 42 and program.calls == TRIED + ARMS[:2]
  assert [entry['status'] for entry in manifest()['runs']][6] == 'stopped'
  assert run() == 0 and program.calls == TRIED + ARMS


@pytest.mark.parametrize('length, lengths', [(96, '64, 128, 256, 512')])
def test_a_claim_about_a_length_without_a_test_is_refused(program, capsys, length, lengths):
  add(CLAIM.replace('128', str(length)))
  assert run() == 2 and program.calls == []
  assert said(capsys) == (
    f'posjax: far.py: ALiBi is better: alibi has no test at {length}; its lengths are {lengths}'
  )
  assert run('--tier=smoke') == 0  # judges no claims


def test_a_rate_that_is_not_done_has_no_loss(program):
  add('')
  run('--arms=rope')
  assert manifest()['rates']['alibi'] == {'tried': {'0.001': None, '0.01': None}, 'chosen': None}
  assert not math.isnan(manifest()['rates']['rope']['tried']['0.01'])
