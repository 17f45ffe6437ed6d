"""Mistakes in an experiment's file: one line, with the place and a valid choice, before any run."""

import contextlib
import dataclasses
import re
from pathlib import Path

import pytest

from posjax import plan, state
from posjax.config import ROOT
from posjax.errors import UserError
from posjax.sweep import cost, experiment
from posjax.sweep import runs as runs_lib
from posjax.sweep.experiment import TUNING_SEED

EXPERIMENT = '''"""Far is hard.

Someone 2026, arXiv 0000.00000.
"""

import numpy as np

from posjax.sweep.experiment import Claim, Exact, Tier

ARMS = {'rope': ('--config=rope',), 'alibi': ('--config=alibi',)}
SEEDS = (0, 1, 2)
'''
LINE = EXPERIMENT.count('\n') + 1  # of the first line that a test adds


@pytest.fixture
def load(monkeypatch, tmp_path):
  """Returns a function that loads the experiment above with lines added to it."""
  monkeypatch.chdir(tmp_path)

  def load(text):
    Path('far.py').write_text(EXPERIMENT + text)
    return experiment.load(Path('far.py'))

  return load


def claim(value, bound='above=0'):
  return f"CLAIMS = (Claim('Far', lambda at: {value}, {bound}),)"


def test_all_names(load):
  loaded = load('\n'.join([
    'THEN = {"longer": ("--config=rope", "--config.init.run={rope}")}', 'RATES = (1e-3, 1)',
    'MEASURE = "copy", "token accuracy"', 'THRESHOLD = 0.9', 'VARIES = ("train.steps",)',
    'POOL = "text64"', 'TIERS = {"gpu": Tier(size="small")}', 'NAMES = ("not", "a", "name")',
    "CLAIMS = (Claim('Far', lambda at: at('rope', 64) - at('longer', 64), above=0), "
    "Exact('One', lambda: 1.0, above=0))",
  ]))
  assert (loaded.seeds, loaded.rates, loaded.measure) == (
    (0, 1, 2), (1e-3, 1), ('copy', 'token accuracy'),
  )
  assert (loaded.threshold, loaded.varies, loaded.pool) == (0.9, ('train.steps',), 'text64')
  assert [*loaded.known_tiers()] == ['smoke', 'cpu', 'gpu'] and [*loaded.then] == ['longer']
  assert (loaded.question, [c.text for c in loaded.claims]) == ('Far is hard.', ['Far', 'One'])


SEEDS = 'SEEDS must be a tuple of different integers, such as (0, 1, 2)'
RATES = 'RATES must be a tuple of different positive numbers, such as (3e-3, 1e-2)'
MEASURE = "MEASURE must be a test and a metric, such as ('sliding', 'bits/byte')"
CLAIMS = 'CLAIMS must be a tuple of Claim and Exact; one needs a comma: (Claim(…),)'
TIERS = "TIERS must be a dict like {'gpu': Tier(size='small')}"
POOL = 'POOL must be the name of a folder, such as text64'
LINEAR = 'Far: its value must be a sum, or np.maximum, of results of at'
MISTAKES = {
  'SEEDS = [0, 1]': SEEDS, 'SEEDS = (0, 1.0)': SEEDS, 'SEEDS = (0, True)': SEEDS,
  'RATES = 3e-3': RATES, 'RATES = [3e-3]': RATES, "RATES = ('3e-3',)": RATES,
  'RATES = (0.0, 1e-2)': RATES, 'RATES = (float("nan"),)': RATES, 'RATES = (1e-2, 1e-2)': RATES,
  'RATES = (1e-2, 1e-2 + 1e-12)': RATES,  # the names of their folders are equal
  "MEASURE = 'bits/byte'": MEASURE, "MEASURE = ('sliding',)": MEASURE, 'MEASURE = (1, 2)': MEASURE,
  "THRESHOLD = '0.9'": 'THRESHOLD must be a number, such as 0.95',
  "CLAIMS = Claim('Far', lambda at: at('rope', 64), above=0)": CLAIMS,
  "CLAIMS = ('rope is better',)": CLAIMS, 'CLAIMS = [Exact("One", float, below=1)]': CLAIMS,
  "TIERS = Tier(size='small')": TIERS, "TIERS = {'gpu': ('--config.train.steps=9',)}": TIERS,
  "TIERS = {'../gpu': Tier()}": TIERS, 'TIERS = {1: Tier()}': TIERS,
  "VARIES = 'train.steps'": "VARIES must be a tuple of keys, such as ('train.steps',)",
  "POOL = '../../x'": POOL, "POOL = '/tmp/x'": POOL, "POOL = '..'": POOL, "POOL = 'a/b'": POOL,
  'POOL = 3': POOL, 'POOL = None': POOL,
  "ARMS['rope'] = ('--config=rope', 3)":
    "ARMS must be a dict like {'rope': ('--config=configs/rope.py',)}",
  'ARMS = {}': "ARMS must be a dict like {'rope': ('--config=configs/rope.py',)}",
  "THEN = ('--config=rope',)": "THEN must be a dict like {'rope': ('--config=configs/rope.py',)}",
  "THEN = {'a/b': ('--config=rope',)}":
    "THEN: 'a/b' cannot name a folder: an arm begins with a letter or a digit and has letters, "
    'digits and . _ + = - only, 60 at most',
  "THEN = {'rope': ('--config=rope',)}": 'arm rope is both in ARMS and in THEN',
  "THEN = {'longer': ('--config.init.run={rop}',)}":
    'arm longer: {rop}: did you mean rope? The arm must be one of rope, alibi',
  "THEN = {'a': ('--config=rope',), 'b': ('--config.init.run={a}',)}":
    'arm b: {a}: the arm must be one of rope, alibi',
}
UNLEARNED = 'ValueError: Far: learned: rop: did you mean rope? The arm must be one of rope, alibi'
# Messages that name the line of the file.
RAISED = {
  "TIERS = {'gpu': Tier('--config.train.steps=9')}":
    "ValueError: flags = '--config.train.steps=9': must be a tuple like "
    "('--config.train.steps=9',)",
  "TIERS = {'gpu': Tier(('steps=9',))}":
    "ValueError: flags = ('steps=9',): must be a tuple like ('--config.train.steps=9',)",
  "TIERS = {'gpu': Tier(seeds=3)}": f'ValueError: {SEEDS}',
  "TIERS = {'gpu': Tier(rates=3e-3)}": f'ValueError: {RATES}',
  claim("at('rope', 64)", 'paper=""'): 'ValueError: Far: must have one of above and below',
  claim("at('rope', 64)", 'above=0, below=1'): 'ValueError: Far: must have one of above and below',
  claim("at('rope', 64)", "above=0, learned='rope'"):
    "ValueError: learned = 'rope': must be a tuple of arms",
  claim("at('rope', 64)", "above=0, learned=('rop',)"):
    UNLEARNED,
  claim("at('rop', 64)"): 'ValueError: Far: rop: did you mean rope? The arm must be one of rope, '
  'alibi',
  claim("at('rope')"): "TypeError: asked.<locals>.at() missing 1 required positional argument: "
  "'length'",
  claim("at('rope', 64) / {}['alibi']"): "KeyError: 'alibi'",
  claim("max(at('rope', 64), at('alibi', 64))"):
    'ValueError: The truth value of an array with more than one element is ambiguous. Use a.any() '
    'or a.all()',
  claim("at('rope', 64) < at('alibi', 64)"): f'ValueError: {LINEAR}',
  claim("at('rope', 64).mean()"): f'ValueError: {LINEAR}',
  claim('None'): f'ValueError: {LINEAR}',
  "CLAIMS = (Claim('Far', 3, above=0),)":
    'ValueError: Far: value must be a function, such as lambda at: at("rope", 64)',
  'CLAIMS = (Exact("One", 1.0, above=0),)':
    'ValueError: One: value must be a function, such as lambda at: at("rope", 64)',
}


@pytest.mark.parametrize('text', MISTAKES)
def test_a_mistake_is_one_line(load, text):
  with pytest.raises(UserError) as error:
    load(text)
  assert str(error.value) == f'far.py: {MISTAKES[text]}'


@pytest.mark.parametrize('text', RAISED)
def test_an_error_names_its_line(load, text):
  with pytest.raises(UserError) as error:
    load(text)
  # The value of a claim is checked after its function has returned.
  place = 'far.py' if RAISED[text] in (f'ValueError: {LINEAR}', UNLEARNED) else f'far.py:{LINE}'
  assert str(error.value) == f'{place}: {RAISED[text]}'


@pytest.mark.parametrize('value', [
  "at('rope', 64)", "np.maximum(at('rope', 64), at('alibi', 64))",
  "(at('rope', 64) + at('alibi', 64)) / 2", "1 - at('rope', 64, test='sliding', metric='m')",
  "sum(at(arm, 64) for arm in ARMS)", "at('rope', 64) / (at('alibi', 64) - at('rope', 64))",
])
def test_values_of_claims(load, value):
  [loaded] = load(claim(value)).claims
  assert {arm for arm, length in experiment.asked(loaded, ['rope', 'alibi'])} <= {'rope', 'alibi'}


@pytest.mark.parametrize('text, valid', [
  (f'SEEDS = (0, {TUNING_SEED})', True), (f'SEEDS = (0, {TUNING_SEED})\nRATES = (1e-3,)', False),
  (f"TIERS = {{'gpu': Tier(seeds=({TUNING_SEED},))}}", True),
  (f"RATES = (1e-3,)\nTIERS = {{'gpu': Tier(seeds=({TUNING_SEED},))}}", False),
  (f"RATES = (1e-3,)\nTIERS = {{'gpu': Tier(seeds=({TUNING_SEED},), rates=())}}", True),
  (f"SEEDS = (0, {TUNING_SEED})\nTIERS = {{'gpu': Tier(rates=(1e-3,))}}", False),
])
def test_no_seed_chooses_its_own_learning_rate(load, text, valid):
  message = '^far.py: SEEDS: 9 is the seed that chooses among RATES$'
  with contextlib.nullcontext() if valid else pytest.raises(UserError, match=message):
    load(text)


@pytest.mark.parametrize('doc', ['', '"""\n"""\n', '"""   """\n'])
def test_a_question_is_needed(monkeypatch, tmp_path, doc):
  monkeypatch.chdir(tmp_path)
  Path('far.py').write_text(f'{doc}ARMS = {{"rope": ("--config=rope",)}}\nSEEDS = (0,)\n')
  with pytest.raises(UserError, match='^far.py: its docstring must state the claim and the paper$'):
    experiment.load(Path('far.py'))


def test_the_page_names_all_names_and_its_example_runs(monkeypatch, tmp_path):
  page = (ROOT / 'docs/experiments.md').read_text()
  table = page.partition('## The names of a file')[2].partition('\n## ')[0]
  fields = {field.name for field in dataclasses.fields(experiment.Experiment)}
  names = {name.lower() for name in re.findall(r'^\| `([A-Z]+)` \|', table, re.MULTILINE)}
  assert names == fields - {'path', 'sha256', 'text'}
  monkeypatch.chdir(tmp_path)
  code = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
  Path('far.py').write_text(code[0])
  loaded = experiment.load(Path('far.py'))
  runs_lib.check(loaded, loaded.tier('cpu'), tmp_path)
  Path('far.py').write_text('\n'.join(code).replace('configs/power.py', 'nope'))
  assert [*experiment.load(Path('far.py')).arms] == ['alibi', 'rope', 'power']


def test_cost_of_an_experiment(load):
  """An arm has 3 runs of its own and 2 that try a rate; one that fixes its rate has 3."""
  far = load(
    "ARMS['fixed'] = ('--config=rope', '--config.optimizer.learning_rate=1e-3')\n"
    'RATES = (1e-3, 1e-2)\nTIERS = {"gpu": Tier(size="small")}'
  )
  _, head, rope, alibi, fixed, total = cost.table(far, far.tier('gpu'), Path('out'))
  [run] = runs_lib.plan(
    dataclasses.replace(far, arms={'rope': far.arms['rope']}),
    dataclasses.replace(far.tier('gpu'), seeds=(0,)), Path('out'),
  )
  setup = state.setup(run.config)
  flops = 10_000 * plan.flops_per_step(run.config, setup.model, setup.shapes.params)
  hours = flops / (0.4 * 989.4e12) / 3600
  assert head.split()[:2] == ['arm', 'weights'] and alibi.split()[2] == '5'
  assert rope.split()[2:5] == ['5', f'{5 * 10_000 * 64 * 512:.2g}', f'{5 * flops:.2g}']
  assert fixed.split()[2:5] == ['3', f'{3 * 10_000 * 64 * 512:.2g}', f'{3 * flops:.2g}']
  assert rope.split()[-2] == f'{5 * hours:.2g}' and total.split()[0] == 'all'
