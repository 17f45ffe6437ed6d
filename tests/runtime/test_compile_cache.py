"""The next process reads compiled programs from the cache, which never stops or changes a run."""

import json
import os
import pathlib
import resource
import subprocess
import sys

import pytest

from posjax.config import ROOT
from posjax.runtime import compile_cache
from tests.support.lab import SMALL

# Runs a program and prints how many compilations it read from the cache and how many it wrote.
COUNTED = '''
import atexit, collections, json, resource, runpy, sys
import jax
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
counts = lambda: [events[f'/jax/compilation_cache/cache_{kind}'] for kind in ('hits', 'misses')]
atexit.register(lambda: print(json.dumps(counts())))
_, limit, *sys.argv = sys.argv
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
runpy.run_path(sys.argv[0], run_name='__main__')
'''
SUM = '''
import sys
from posjax.runtime import compile_cache
compile_cache.keep(sys.argv[1] if len(sys.argv) > 1 else None)
import jax
assert float(jax.jit(lambda: jax.numpy.arange(4.0).sum())()) == 6
'''


@pytest.fixture
def program(tmp_path):
  """Runs a file with arguments and returns (hits, misses) and printed lines; no warnings."""
  inherited = {k: v for k, v in os.environ.items() if not k.startswith(('JAX_', 'XLA_'))}

  def run(*command, limit=resource.RLIM_INFINITY, **variables):
    environment = inherited | {
      'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT), 'XDG_CACHE_HOME': str(tmp_path / 'caches'),
    }
    done = subprocess.run(
      [sys.executable, '-c', COUNTED, str(limit), *map(str, command)], cwd=tmp_path,
      env=environment | variables, capture_output=True, text=True, check=True,
    )
    assert done.stderr == ''
    *said, counts = done.stdout.splitlines()
    return tuple(json.loads(counts)), said

  return run


@pytest.fixture
def compute(program, tmp_path):
  """Runs a program with one compilation and returns (hits, misses)."""
  path = tmp_path / 'sum.py'
  path.write_text(SUM)
  return lambda **settings: program(path, tmp_path / 'work', **settings)[0]


def entries(folder):
  return sorted(pathlib.Path(folder).glob('jit_*-cache'))


def test_the_next_process_compiles_nothing(compute, tmp_path):
  assert compute() == (0, 1)
  [entry] = entries(tmp_path / 'caches/posjax/compiled')
  assert entry.parent.stat().st_mode & 0o777 == 0o700
  assert compute() == (1, 0)
  assert not (tmp_path / 'work').exists()


def test_a_damaged_entry_costs_one_compilation(compute, tmp_path):
  compute()
  [entry] = entries(tmp_path / 'caches/posjax/compiled')
  content = entry.read_bytes()
  for damaged in (content[:100], content[:-9] + b'x' + content[-8:]):
    entry.write_bytes(damaged)
    assert compute() == (0, 1)
    assert compute() == (1, 0)


def test_a_full_disk_does_not_stop_a_run(compute, tmp_path):
  assert compute(limit=100) == (0, 1)
  assert entries(tmp_path / 'caches/posjax/compiled') == []
  assert compute() == (0, 1)
  assert compute() == (1, 0)


def test_the_cache_falls_back_to_the_work_directory(compute, tmp_path):
  (tmp_path / 'file').touch()
  for expected in ((0, 1), (1, 0)):
    assert compute(XDG_CACHE_HOME=str(tmp_path / 'file')) == expected
  assert len(entries(tmp_path / 'work/compile_cache')) == 1
  (tmp_path / 'work/compile_cache').rename(tmp_path / 'compile_cache')
  (tmp_path / 'work').rmdir()
  (tmp_path / 'work').touch()  # no cache folder is writable
  assert compute(XDG_CACHE_HOME=str(tmp_path / 'file')) == (0, 0)


def test_without_a_writable_folder_nothing_is_cached(program, tmp_path):
  (tmp_path / 'sum.py').write_text(SUM)
  (tmp_path / 'file').touch()
  assert program(tmp_path / 'sum.py', XDG_CACHE_HOME=str(tmp_path / 'file'))[0] == (0, 0)
  assert {path.name for path in tmp_path.iterdir()} == {'sum.py', 'file'}


def test_environment_variables_of_jax_take_precedence(compute, tmp_path):
  assert compute(JAX_ENABLE_COMPILATION_CACHE='false') == (0, 0)
  own = {
    'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'own'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  assert compute(**own) == (0, 1)
  assert len(entries(tmp_path / 'own')) == 1
  assert not (tmp_path / 'caches').exists()


@pytest.mark.parametrize('home, caches, folder', [
  ('/home/me', None, '/home/me/.cache/posjax/compiled'),
  ('/home/me', '', '/home/me/.cache/posjax/compiled'),
  ('/home/me', '/caches', '/caches/posjax/compiled'),
])
def test_the_cache_folder_of_the_user(home, caches, folder, monkeypatch):
  monkeypatch.setenv('HOME', home)
  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
  if caches is not None:
    monkeypatch.setenv('XDG_CACHE_HOME', caches)
  monkeypatch.setattr(pathlib.Path, 'mkdir', lambda path, *_, **__: None)
  monkeypatch.setattr(os, 'access', lambda path, mode: True)
  assert compile_cache.of_user() == pathlib.Path(folder)
  monkeypatch.setattr(os, 'access', lambda path, mode: False)  # a file system that is read-only
  assert compile_cache.of_user() is None


def test_least_recently_used_entries_are_deleted_first(tmp_path):
  for name, written, read in (('a', 1, 5), ('b', 2, 2), ('c', 3, 3), ('d', 4, 4)):
    path = tmp_path / f'jit_{name}-0-cache'
    path.write_bytes(bytes(10))
    os.utime(path, (read, written))
  (tmp_path / 'other').write_bytes(bytes(100))
  left = lambda: [path.name for path in entries(tmp_path)]
  compile_cache.tidy(tmp_path, 40)
  assert len(left()) == 4
  compile_cache.tidy(tmp_path, 29)
  assert left() == ['jit_a-0-cache', 'jit_d-0-cache']
  compile_cache.tidy(tmp_path, 0)
  assert left() == [] and (tmp_path / 'other').exists()
  compile_cache.tidy(tmp_path / 'nowhere', 0)


@pytest.mark.slow
def test_a_second_run_compiles_nothing_and_is_bitwise_equal(program, tmp_path):
  (tmp_path / 'text').write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
  settings = ('data.corpus=text:text', *SMALL, 'train.steps=4', 'train.log_every=1')
  run = (
    ROOT / 'posjax/main.py', '--config=rope', *(f'--config.{setting}' for setting in settings)
  )
  results = {}
  for workdir in ('cold', 'warm'):
    (hits, misses), _ = program(*run, f'--workdir={workdir}')
    assert (hits, misses > 0) == (0, True) if workdir == 'cold' else misses == 0
    results[workdir] = [
      (tmp_path / workdir / name).read_bytes() for name in ('metrics.jsonl', 'evaluation.json')
    ]
  assert results['cold'] == results['warm']
  program(*run, '--workdir=cold', '--mode=evaluate')
  program(*run, '--workdir=cold', '--mode=generate', '--prompt=line')
  for mode in ('evaluate', 'generate', 'dry_run'):
    what = ['--dry_run'] if mode == 'dry_run' else [f'--mode={mode}', '--workdir=warm']
    what += ['--prompt=line'] * (mode == 'generate')
    (hits, misses), said = program(*run, *what)
    assert hits and not misses
    assert mode != 'dry_run' or any(line.startswith('memory      0.0') for line in said)
