"""Mutated command lines and config files: each builds a state or is refused in one line.

The examples are the same in every run. `MUTATIONS=5000 python -m pytest -m slow -n0 -rP
tests/config/test_mutations.py` draws that many new examples in each slow test; -rP shows the
tables.
"""

import collections
import contextlib
import io
import json
import math
import os
import re
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posjax import config as config_lib
from posjax import encodings, tasks, train
from posjax import run as run_lib
from posjax import state as state_lib
from posjax.config import ROOT, validation
from posjax.errors import UserError, show
from posjax.metrics import Diverged

DRAWN = int(os.environ.get('MUTATIONS', '0'))

NAMES = [*config_lib.available()]
KEYS = {name: config_lib.flatten(config_lib.load(name)[0]) for name in NAMES}
SPECS = (
  '', 'ropee', 'rope:', ':tiny', 'rope:smal', 'rope:tiny:tiny', 'rope.py.py', 'base', 'configs',
  '.', '/', '/dev/null', '../rope', '~', '~nobody/rope', '\0', 'rope\n', 'rôpe', '\udcff',
  'r' * 5000,
)
NUMBERS = (
  '0', '-1', '1', '2', '3', '7', '48', '0.5', '-0.0', '1e-3', '5_000', '0x10', '007', '1e308',
  '1e400', '1e-320', '-1e30', 'nan', 'inf', '-inf', str(2**31), str(2**32), str(2**63), str(10**12),
  str(10**30), '1' * 400, '9' * 5000,
)
TUPLES = (
  '()', '(1,)', '1,', ',', ',,', '1,1', '-1,1,1', '1,2,2', '8,1,1', '1,2,4,8', '1,1000000000000',
  '(1, (2, 3))', '[1, 2]', '(1, "a")', 'a,b', '1,a', '{1: 2}', '(', '(' * 300, '1,' * 2000,
)
JUNK = (
  '', ' ', 'None', 'true', 'False', '"', "'", "'a", '\\', '\n', 'a\nb', '\0', '\x1b[31m', '\x85',
  '\u2028', 'é', '🙂', '\udcff', 'x' * 10_000, '${seed}', '=', '==1', '--', '-', '@',
  '__import__("os")', 'lambda: 0', '*', '~', '1; 2', '# 1', 'b"1"', '1j', '...',
)
FLAGS = (
  '--mode=evaluate', '--mode=train', '--mode=trian', '--mode=', '--mode', '--checkpoint=best',
  '--checkpoint=²', '--checkpoint=' + '9' * 30, '--prompt=\n', '--workdir=/tmp/a b',
  '--workdir=~nobody/x', '--workdir=\0', '--dry_run', '--nodry_run', '--dry_run=maybe',
  '--dry_run=\n', '--help', '--helpp', '--print_config', '--config=rope', '--config=t5', '--nohelp',
  '--config', '--noconfig', '--flagfile=x', '--undefok=x', '--', '-', '---', '', 'x',
  '-config=rope', '--config.', '--config.=1', '--config..=1', '--config.model', '--config.model.',
  '--config.model=3', '--config.mesh[0]=1', '--config.mesh.0=1', '--config.mesh=1,1,1',
  '--noconfig.seed',
  '--noconfig.model.remat', '--config.model.remat', '--config.seed', '--=', '--é',
  '--config.encoding.dims=1', '--config.model.dim.x=1', '--config.seed\n=1', '-h', '--?',
  '---config=rope',
)


def words(key, value):
  """Draws plausible text for a key, given its value in some config."""
  if key in validation.CHOICES:
    return st.sampled_from(validation.CHOICES[key])
  if key == 'encoding.layers':
    return patterns(value)
  if key == 'task.name':
    return st.sampled_from([value, value, *tasks.names(), 'txt'])
  if isinstance(value, bool):
    return st.sampled_from(['true', 'false', '0', '1', 'True'])
  if isinstance(value, int):
    return st.sampled_from([str(n) for n in (1, 2, 4, 8, 16, 32, 64, value, 2 * value)])
  if isinstance(value, float):
    return st.sampled_from(['0', '0.1', '0.25', '0.9', '1', '3.5', '1e-7', str(value)])
  return st.just(show(value))


def key_of(argument):
  return argument.partition('=')[0]


def patterns(layers):
  """Draws patterns of layers: patterns of a config, with other encodings substituted."""
  labelled = ('rope_a', 'rope_b_c', 'rop', 'alibi_', '_', '')
  others = st.sampled_from([*encodings.names(), *layers, *labelled])
  chain = st.lists(others, min_size=1, max_size=3).map('+'.join)
  own = ','.join(layers)
  return st.one_of(
    st.just(own), st.just(f'{own},{own}'), others.map(lambda x: f'{own}+{x}'),
    others.map(lambda x: f'{x}+{own}'), others.map(lambda x: f'{own},{x}'),
    st.lists(chain, min_size=1, max_size=4).map(','.join),
  )


# Implausible text.
wrong = st.one_of(*map(st.sampled_from, (NUMBERS, NUMBERS, TUPLES, JUNK)), st.text(max_size=8))
# Hypothesis prefers the first of several alternatives.
rarely = st.sampled_from([False] * 11 + [True])


@st.composite
def overrides(draw, keys):
  key = draw(st.sampled_from([*keys]))
  value = draw(wrong if draw(st.integers(0, 5)) == 5 else words(key, keys[key]))
  return f'--config.{key}={value}'


@st.composite
def edited(draw, text, pieces):
  """Draws text or a list with elements deleted, doubled, swapped or mixed with `pieces`."""
  for _ in range(draw(st.integers(1, 3))):
    i, j = (draw(st.integers(0, len(text))) for _ in range(2))
    i, j = sorted((i, j))
    text = draw(st.sampled_from([
      text[:i] + text[i + 1 :], text[:i] + text[i : i + 1] + text[i:], text[:i] + text[j:],
      text[:i] + draw(pieces) + text[i:], text[:i] + text[j : j + 1] + text[i:j] + text[j + 1 :],
    ]))
  return text


def arguments_of_task(name):
  return {f'task.{name}.{key}': v for key, v in tasks.arguments(tasks.find(name)).items()}


@st.composite
def command_lines(draw, names=NAMES, fixed=()):
  """`fixed` lists keys that are not mutated."""
  name = draw(st.sampled_from(names))
  known = KEYS[name] | arguments_of_task(KEYS[name]['task.name'])
  keys = {key: value for key, value in known.items() if key not in fixed}
  size = draw(st.sampled_from(['', '', ':tiny', ':small', ':large']))
  spec = draw(st.sampled_from(SPECS)) if draw(rarely) else f'{name}{size}'
  argv = [f'--config={spec}', *draw(st.lists(overrides(keys), max_size=4, unique_by=key_of))]
  if draw(rarely):
    argv = draw(edited(argv, st.sampled_from([[flag] for flag in FLAGS])))
  if draw(rarely):
    i = draw(st.integers(0, len(argv)))
    argv[i : i + 1] = [draw(edited(x, st.sampled_from('=,.-:\n"é'))) for x in argv[i : i + 1]]
  if draw(rarely):
    argv.append(draw(st.sampled_from(FLAGS)))
  return argv


VALUES = (
  '0', '-1', '2', '0.5', '10**12', '10**30', '10**400', '1e308', 'float("nan")', '-1e400', 'None',
  'True', '"a"', '""', '"a\\nb"', '()', '(1,)', '(1, 2)', '("rope", 3)', '[1]', '{}', 'dict()',
  'dict(a=1)', '{1: 2}', '{"a.b": 1}', 'set()', 'b"a"', 'object()', 'lambda: 0', '1j', 'base',
  'config', '((1, 2), 3)', 'len', 'size', 'size * 2', '"x" * 10**4', 'range(3)', 'Ellipsis', '...',
  '(None,)', 'undefined',
)
BODY = (
  '  config.model.layrs = 3', '  config.new = 1', '  del config.train', '  del config.train.steps',
  '  config.encoding.dims = dict()', '  config.encoding.self = dict(a=1)', '  config.train = 3',
  '  config.encoding.layers = ()', '  config.encoding = None', '  config.model = dict()',
  '  config = config.to_dict()', '  config = dict(config)', '  return', '  return 3',
  '  return config', '  raise SystemExit("no")', '  raise SystemExit', '  raise KeyError',
  '  raise ValueError("a\\nb")', '  raise RecursionError', '  get_config(size)', '  config.lock()',
  '  import sys; sys.exit(0)', '  config.seed = config.get_ref("train").steps',
  '  config.loop = config', '  yield config', '  config.model.dim = config.get_oneway_ref("seed")',
  '  with config.unlocked(): config.seed = 1', '  config.mesh["data"] = 1',
  '  config.mesh[0] = 1', '  config["a.b"] = 1',
  '  config["é"] = 1', '  config["--x"] = 1',
)
TOP = (
  '1 / 0', 'get_config = 3', 'SIZES = 3', 'SIZES = {}', 'SIZES = {"huge": 1}', 'SIZES = (1, 2)',
  'import nothing', 'raise SystemExit(0)', 'exit', '(', '"""', '\tx = 1', '# coding: latin-1',
  '# coding: nonsense', '\0', 'é = "é"', 'class get_config: pass',
  'def get_config(): return base.get_config()', 'def get_config(size=3): return base.get_config()',
  'def get_config(size): return base.get_config(size)',
  'def get_config(*sizes): return base.get_config()',
  'def get_config(a="tiny", b=1, c=2): return base.get_config(a)',
  'def get_config(*, size="tiny"): pass',
  'def get_config(size="tiny", **x): return base.get_config(size)', 'async def get_config(): pass',
  'def get_config(size=None): return base.get_config()', 'get_config = base.get_config',
)


@st.composite
def config_files(draw):
  """Draws a real config file with changed values, lines or bytes."""
  name = draw(st.sampled_from(['rope', 'local_global', 't5', 'rnope_swa', 'randomize', 'dape']))
  text = (ROOT / 'configs' / f'{name}.py').read_text()
  head, text = text[: text.index('def ')], text[text.index('def ') :]
  if draw(st.integers(0, 3)) == 3:
    i, j = draw(st.sampled_from([m.span(1) for m in re.finditer(r'=(\S+?)[,)]+\s', text)]))
    text = text[:i] + draw(st.sampled_from(VALUES)) + text[j:]
  for key in draw(st.lists(st.sampled_from([*KEYS[name]]), max_size=3)):
    typed = words(key, KEYS[name][key]).map(lambda word, key=key: literal(word, KEYS[name][key]))
    value = draw(st.one_of(typed, typed, typed, st.sampled_from(VALUES)))
    text = text.replace('  return', f'  config.{key} = {value}\n  return')
  if draw(rarely):
    pieces = st.sampled_from(TOP + BODY).map(lambda line: [line])
    text = '\n'.join(draw(edited(text.splitlines(), pieces)))
  if draw(st.integers(0, 4)) == 4:
    text = text.replace('  return', f'{draw(st.sampled_from(BODY))}\n  return')
  if draw(rarely):
    line = draw(st.sampled_from(TOP))
    text = draw(st.sampled_from([f'{line}\n{text}', f'{text}\n{line}\n']))
  source = (head + text).encode()
  if draw(rarely):
    pieces = st.sampled_from([b'\xff', b'\0', b'(', b'"', b'\n', b' ', b'='])
    source = draw(edited(source, pieces))
  return source


def literal(word, value):
  """Draws a plausible Python expression for a key that has `value`."""
  if isinstance(value, tuple):
    elements = word.split(',')
    return repr(tuple(elements if isinstance(value[0], str) else map(int, elements)))
  if isinstance(value, bool):
    return str(word.lower() in ('true', '1'))
  return repr(word) if isinstance(value, str) else word


class Tally:
  """Counts of outcomes of the examples."""

  def __init__(self):
    self.counts, self.reasons, self.slowest = collections.Counter(), collections.Counter(), 0.0

  def add(self, argv):
    """Runs the command line up to the shapes of the state, without compiling."""
    started = time.perf_counter()
    try:
      with contextlib.redirect_stdout(io.StringIO()):
        run = run_lib.parse(['posjax', *argv])
        config_lib.describe(run.config, run.path)
        assert state_lib.setup(run.config).shapes
      self.counts['accepted'] += 1
    except SystemExit as stop:
      assert stop.code == 0
      self.counts['help'] += 1
    except UserError as error:
      check_line(error)
      self.counts['refused'] += 1
      self.reasons[reason(str(error))] += 1
    self.slowest = max(self.slowest, time.perf_counter() - started)

  def __str__(self):
    rows = [*self.counts.items(), *self.reasons.most_common(20)]
    return '\n'.join([*(f'{n:6} {name}' for name, n in rows), f'slowest {self.slowest:.1f} s'])


def check_line(error):
  assert re.fullmatch(r'.+', str(error)) and str(error).isprintable()


def reason(message):
  """Returns the section or the exception that a message is about."""
  message = re.sub(r'^\S*mine\.py(:\d+)?: ', 'file: ', message)
  return ' '.join(re.match(r'(file:)?\W*(?:config\.(?=[a-z]))?(\w*)', message).groups(''))


def run_examples(check, strategy, count):
  options = settings(
    max_examples=DRAWN or count, derandomize=not DRAWN, database=None, deadline=None,
    suppress_health_check=[*HealthCheck],
  )
  options(given(strategy)(check))()


def counts(few, many):
  return pytest.mark.parametrize('count', [few, pytest.param(many, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(sys, 'dont_write_bytecode', True)


@counts(60, 600)
def test_command_lines(count):
  tally = Tally()
  run_examples(tally.add, command_lines(), count)
  report(tally)


@counts(40, 400)
def test_config_files(count, tmp_path):
  tally, file = Tally(), tmp_path / 'mine.py'

  def check(source_and_size):
    source, size = source_and_size
    file.write_bytes(source)
    tally.add([f'--config={file}{size}'])

  sizes = st.sampled_from(['', '', '', ':tiny', ':small', ':huge', ':1'])
  run_examples(check, st.tuples(config_files(), sizes), count)
  report(tally)


def report(tally):
  print(tally)
  assert tally.counts['accepted'] >= tally.counts.total() / 5


SMALL = {
  'data.train': 'train', 'data.validation': 'validation', 'data.test': 'test', 'train.steps': 2,
  'train.batch': 8, 'train.length': 16, 'optimizer.warmup': 1, 'model.dim': 16, 'model.layers': 2,
  'model.heads': 2, 'model.kv_heads': 2, 'model.head_dim': 8, 'model.hidden': 16,
  'model.form': 'auto', 'model.layer': 'attention', 'data.tokenizer': 'bytes',
  'data.fields': 'text',
  'task.name': 'text', 'task.text.validation_tokens': 512, 'task.text.tokens': 512,
  'task.text.stride': 8, 'task.text.windows': 8,
}


@pytest.mark.slow
def test_accepted_command_lines_train(tmp_path):
  """Trains twelve of them for two steps, with tiny sizes and all other values as drawn."""
  corpus = tmp_path / 'numbers.txt'
  corpus.write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
  small = SMALL | {'data.corpus': f'text:{corpus}'}
  sizes = [f'--config.{key}={value}' for key, value in small.items()]
  accepted = {}

  def check(argv):
    with contextlib.suppress(UserError, SystemExit):
      run = run_lib.parse(['posjax', *argv, *sizes])
      state_lib.setup(run.config)
      if len({*argv}) > 2:
        accepted[run.name] = argv, run.config

  run_examples(check, command_lines(fixed=[*small]), 400)
  sample = [*accepted.items()][:: len(accepted) // 12][:12]
  ends = []
  for name, (argv, config) in sample:
    ends.append(two_steps(config, tmp_path / name))
    print(f'{ends[-1]}: {argv}')
  assert len(ends) == 12 and ends.count('trained') >= 6


def two_steps(config, workdir):
  """Returns how a run of two steps ends."""
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      train.run(config, workdir, name='mutated', import_seconds=0.0, command='command')
  except UserError as error:
    check_line(error)
    return f'refused: {error}'
  except Diverged:
    return 'diverged'
  records = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
  assert all(math.isfinite(record['loss']) for record in records)
  return 'trained'
