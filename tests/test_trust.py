"""Safety: no file is unpickled, nothing is written outside the named folders, names are text."""

import ast
import json
import os
import pathlib
import subprocess
import sys
import warnings

import pytest

from posjax import run_summary
from posjax.config import ROOT
from posjax.sweep import table
from tests.test_train import SMALL

# No pickles, nor other formats that execute code when read. Configs and experiments are code by
# design: importlib and runpy run them.

UNSAFE_MODULES = {
  'pickle', '_pickle', 'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib', 'pandas', 'torch',
}
UNSAFE_CALLS = {'eval', 'exec', 'compile', '__import__'}
FOLDERS = ('posjax', 'configs', 'experiments')


def unsafe(source):
  """Returns the lines of a source that could unpickle data or execute a text."""
  found = []
  for node in ast.walk(ast.parse(source)):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [node.module or '', *(alias.name for alias in node.names)]
    modules = {name.partition('.')[0] for name in names}
    used = getattr(node, 'attr', getattr(node, 'arg', None)) or ''  # x.pickle, allow_pickle=True
    called = getattr(getattr(node, 'func', None), 'id', None)
    if modules & UNSAFE_MODULES or 'pickle' in used or called in UNSAFE_CALLS:
      found.append(node)
  return [f'{getattr(node, "lineno", 0)}: {ast.unparse(node)}' for node in found]


def test_nothing_is_unpickled_or_evaluated():
  paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py')]
  assert len(paths) > 50
  peers = {'posjax/bench/peers.py', 'posjax/bench/nanogpt.py'}  # these measure torch itself
  found = {str(path.relative_to(ROOT)): unsafe(path.read_text()) for path in paths}
  assert all(found.pop(path) for path in peers)
  assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize('line', [
  'import pickle', 'import pickle as p', 'from pickle import load', 'import os, dill.source',
  'from joblib.memory import x', 'import marshal', 'np.load(p, allow_pickle=True)',
  'pd.read_pickle(p)', 'eval("1")', 'x = exec(text)',
])
def test_unsafe_lines_are_noticed(line):
  assert unsafe(f'def f():\n  {line}\n')


# The real program, watched by Python's audit hooks.

AUDIT = '''
import json, os, sys

log = os.open(os.environ['AUDIT_LOG'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
CHANGES = {  # event: its arguments that are paths, and the folders that those are relative to
  'os.mkdir': [(0, 2)], 'os.rename': [(0, 2), (1, 3)], 'os.remove': [(0, 1)], 'os.rmdir': [(0, 1)],
  'os.link': [(1, 3)], 'os.symlink': [(1, 2)], 'os.truncate': [(0, None)],
}

def full(path, folder):
  where = '' if folder in (None, -1) else os.readlink(f'/proc/self/fd/{folder}')
  return os.path.abspath(os.path.join(where, os.fsdecode(path)))

def note(event, arguments):
  what = []
  if event == 'open':
    path, _, flags = arguments
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    what = [full(path, None)] if writes and not isinstance(path, int) else []
  elif event in CHANGES:
    what = [
      full(arguments[path], folder and arguments[folder]) for path, folder in CHANGES[event]
      if not isinstance(arguments[path], int)
    ]
  elif event in ('pickle.find_class', 'socket.connect'):
    what = [repr(arguments)]
  for line in what:
    os.write(log, (json.dumps([event, line]) + '\\n').encode())

sys.addaudithook(note)
'''


@pytest.fixture
def watched(tmp_path):
  """Runs a command in its own home and returns the audit events of all its processes."""
  folders = {name: tmp_path / name for name in ('home', 'tmp', 'here', 'site')}
  for folder in folders.values():
    folder.mkdir()
  (folders['site'] / 'sitecustomize.py').write_text(AUDIT)  # every new Python process reads it
  log = tmp_path / 'log'
  (folders['here'] / 'far.py').write_text(
    '"""Far is hard."""\nimport pathlib\n'
    f'ARMS = {{"nope": ("--config=nope", *{few()})}}\nSEEDS = (0,)\n'
  )

  def run(*command):
    environment = {
      'HOME': folders['home'], 'TMPDIR': folders['tmp'], 'AUDIT_LOG': log,
      'PYTHONPATH': f'{folders["site"]}{os.pathsep}{ROOT}',
      'XDG_CACHE_HOME': folders['home'] / '.cache',
    }
    inherited = {k: v for k, v in os.environ.items() if k != 'JAX_COMPILATION_CACHE_DIR'}
    subprocess.run(
      [sys.executable, '-m', *command], cwd=folders['here'], check=True, capture_output=True,
      env=inherited | {name: str(value) for name, value in environment.items()},
    )
    return [tuple(json.loads(line)) for line in log.read_text().splitlines()]

  return run


def few():
  settings = [setting for setting in SMALL if not setting.startswith('data.')]
  more = ['train.steps=2', 'optimizer.warmup=1', 'generate.tokens=5']
  return [f'--config.{setting}' for setting in (*settings, *more)]


def test_the_audit_notices_unsafe_actions(watched, tmp_path):
  (tmp_path / 'here/bad.py').write_text(
    'import os, pathlib, pickle, shutil\n'
    'pickle.loads(pickle.dumps(os.getcwd))\n'
    'home = pathlib.Path.home()\n'
    '(home / "a").mkdir()\n(home / "a/b").write_text("")\nshutil.rmtree(home / "a")\n'
  )
  home = tmp_path / 'home'
  assert [event for event in watched('bad') if '__pycache__' not in event[1]] == [
    ('pickle.find_class', "('posix', 'getcwd')"),
    ('os.mkdir', f'{home}/a'), ('open', f'{home}/a/b'),
    ('os.remove', f'{home}/a/b'), ('os.rmdir', f'{home}/a'),
  ]


@pytest.mark.slow
def test_the_program_writes_only_to_its_folders_and_unpickles_nothing(watched, tmp_path):
  main = ('posjax.main', '--config=rope', '--workdir=out', *few())
  watched(*main)
  watched(*main, '--mode=evaluate')
  watched(*main, '--mode=generate', '--prompt=def ')
  events = watched('posjax.sweep', 'far.py', '--workdir=swept')

  assert [event for event in events if event[0] in ('pickle.find_class', 'socket.connect')] == []
  here, home = tmp_path / 'here', tmp_path / 'home'
  mine = [here / 'out', here / 'swept', home / 'tensorflow_datasets', home / '.cache/posjax']
  of_others = [home / '.cache', home / '.config', tmp_path / 'tmp', '/dev', '/proc/self/comm']
  written = {pathlib.Path(path) for _, path in events}
  for folder in mine:
    assert any(path.is_relative_to(folder) for path in written), folder
  strangers = [
    path for path in written
    if '__pycache__' not in path.parts and not any(map(path.is_relative_to, mine + of_others))
  ]
  assert strangers == []
  # Writes from C++ raise no event, so list the files that exist now.
  assert {path.name for path in here.iterdir()} == {'far.py', 'out', 'swept'}
  assert {path.name for path in home.iterdir()} <= {'tensorflow_datasets', '.cache', '.config'}


# Names of files, corpora and arms are shown literally, with any characters.

NAMES = [
  r'text:$x_1^2$/{a}\frac{}.txt', 'text:$', r'text:\$\alpha$ $\nonsense{$', 'text:_^{}%&#~',
  'text:two\nlines\t', 'text:\x00\x1b[31m\x7f\udcff', 'text:<script>alert(1)</script>', '',
]


@pytest.mark.parametrize('name', NAMES)
def test_a_figure_shows_any_name(name, tmp_path, monkeypatch):
  from matplotlib.figure import Figure

  drawn = []
  suptitle = Figure.suptitle
  monkeypatch.setattr(
    Figure, 'suptitle', lambda self, *a, **k: drawn.append(suptitle(self, *a, **k))
  )
  tests = {'non-overlapping': 'whole', 'sliding': 'in strides'}
  contents = {
    'name': 'rope_$a', 'step': 2, 'corpus': name, 'tests': tests, 'unit': 'byte',
    'shown': ['bits/byte'], 'by_position': {test: {'bits/byte': [1.0] * 8} for test in tests},
    'records': [
      {'test': test, 'metric': 'bits/byte', 'length': 8, 'value': 1.0, 'floor': None}
      for test in tests
    ],
  }
  with warnings.catch_warnings():
    warnings.simplefilter('error')  # such as for a character that no font has
    run_summary.plot(contents, tmp_path / 'figure.png')
  assert (tmp_path / 'figure.png').read_bytes().startswith(b'\x89PNG')
  [title] = drawn
  shown = ''.join(c if c.isprintable() else '\ufffd' for c in name)
  assert title.get_text() == f'rope_$a, step 2: {shown}' and not title.get_parse_math()


@pytest.mark.parametrize('text, escaped', [
  ('rope+fox, sinusoidal+t5, transformer_xl', 'rope+fox, sinusoidal+t5, transformer_xl'),
  ('text:books/*.txt: 3 files, 0.10 MB', r'text:books/\*.txt: 3 files, 0.10 MB'),
  ('a|b', r'a\|b'),
  ('<script>alert(1)</script>', '&lt;script&gt;alert(1)&lt;/script&gt;'),
  ('`rm -rf`', r'\`rm -rf\`'),
  ('two\nlines\r\x1b[0m', r'two lines  \[0m'),
  ('__init__ _a_ *b*', r'\_\_init\_\_ \_a\_ \*b\*'),
  ('[text](http://x) ![](y)', r'\[text\](http://x) !\[\](y)'),
  (r'\| $x$ ~~y~~ &lt; #', r'\\\| \$x\$ \~\~y\~\~ &amp;lt; \#'),
])
def test_a_name_in_a_table_is_text(text, escaped):
  assert table.escape(text) == escaped


def test_a_table_of_hostile_names():
  class Run:
    arm, seed = 'a|<b>\n`c`', 0

    def __str__(self):
      return self.arm

    def result(self):
      return {}

  record = {'test': 'sliding', 'metric': 'bits/byte', 'length': 8, 'value': 1.44, 'floor': None}
  result = {
    'step': 1, 'corpus': 'text:<img src=x>|\n# title', 'code': '1', 'weights': 1, 'limit': None,
    'tests': {'sliding': 'sliding'}, 'shown': ['bits/byte'], 'unit': 'byte', 'records': [record],
  }
  arm = r'a\|&lt;b&gt; \`c\`'
  assert table.tables('<b> | *claim*\n', [Run()], [(Run(), result)]).splitlines() == [
    r'# &lt;b&gt; \| \*claim\* ', '',
    r'1 steps; seeds 0; text:&lt;img src=x&gt;\| \# title; posjax 1', '',
    f'Not finished: {arm}', '',
    'bits/byte by length in bytes, mean and 95 % interval; sliding', '',
    '| arm | weights | 8 |', '| --- | --- | --- |', f'| {arm} | 1 | 1.44 |',
  ]
