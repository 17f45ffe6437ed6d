"""Several runs at a time, as small real processes: cores, GPUs, signals, a full disk."""

import errno
import json
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from posjax.errors import UserError
from posjax.runtime import files
from posjax.runtime.signals import Interrupted
from posjax.sweep import jobs
from posjax.sweep.jobs import Share
from posjax.sweep.runs import Run

# Writes its cores and GPUs; waits until as many processes have started as told; after SIGTERM,
# writes `saved` and exits with 42.
TINY = '''
import json, os, pathlib, signal, sys, time
folder, others, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
def save(number, frame):
  (folder / 'saved').touch()
  sys.exit(42)
signal.signal(signal.SIGTERM, save)
cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
told = {'cores': cores, 'gpus': os.environ.get('CUDA_VISIBLE_DEVICES')}
(folder / 'told.tmp').write_text(json.dumps(told))
(folder / 'told.tmp').rename(folder / 'told.json')
while len([*folder.parent.glob('*/told.json')]) < others: time.sleep(0.005)
time.sleep(seconds)
(folder / 'evaluation.json').write_text('{"step": 1}')
'''


@pytest.fixture
def tiny(monkeypatch, tmp_path):
  """Returns a function that makes a run; it waits for `others` processes, then for `seconds`."""
  monkeypatch.chdir(tmp_path)
  Path('tiny.py').write_text(TINY)
  monkeypatch.setattr(jobs, 'POLL', 0.01)
  config = types.SimpleNamespace(train=types.SimpleNamespace(steps=1))

  def make(name, others=1, seconds=0.0):
    folder = tmp_path / 'out' / name
    return Run(name, 0, 'tiny', (str(folder), str(others), str(seconds)), folder, config, 'tiny')

  return make


def told(run):
  return json.loads((run.folder / 'told.json').read_text())


def execute(runs, shares, after_each=lambda: None):
  jobs.execute_all(runs, shares, after_each)


CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
two_cores = pytest.mark.skipif(len(CORES) < 2, reason='needs two cores')


@two_cores
def test_two_runs_at_a_time_have_disjoint_cores(tiny):
  """Each waits for the other to start; the third gets the share of one that has ended."""
  runs = [tiny('a', others=2), tiny('b', others=2), tiny('c', others=3)]
  updates = []
  execute(runs, jobs.shares(2), lambda: updates.append([run.status() for run in runs]))
  first, second, third = (told(run)['cores'] for run in runs)
  assert sorted([*first, *second]) == CORES and not {*first} & {*second}
  assert third in (first, second)
  assert sorted(os.sched_getaffinity(0)) == CORES  # the sweep's own
  assert updates[0] == ['missing'] * 3 and len(updates) == 4 and updates[-1] == ['done'] * 3
  assert [run.note()['exit_code'] for run in runs] == [0, 0, 0]


def test_a_run_has_its_own_processor_time(tiny):
  """Not that of runs before it, and not the time that it sleeps."""
  Path('busy.py').write_text('import time\nwhile time.process_time() < 0.25: pass\n')
  busy, idle = tiny('a')._replace(program='busy'), tiny('b', seconds=0.25)
  execute([busy, idle], [Share()])
  assert 0.2 <= busy.note()['cpu_seconds'] <= 0.4 and idle.note()['cpu_seconds'] <= 0.2
  assert idle.note()['seconds'] >= 0.2


def test_gpus_are_shared_out(tiny, monkeypatch):
  monkeypatch.delenv('JAX_PLATFORMS')
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,2,5,7')
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {*range(8)}, raising=False)
  shares = jobs.shares(2)
  assert shares == [
    Share((0, 1, 2, 3), (('CUDA_VISIBLE_DEVICES', '0,2'),)),
    Share((4, 5, 6, 7), (('CUDA_VISIBLE_DEVICES', '5,7'),)),
  ]
  assert [share.environment[0][1] for share in jobs.shares(3)] == ['0', '2', '5,7']
  assert jobs.shares(1) == [Share()]
  runs = [tiny('a', others=2), tiny('b', others=2)]
  execute(runs, [share._replace(cores=()) for share in shares])
  assert sorted(told(run)['gpus'] for run in runs) == ['0,2', '5,7']


@pytest.mark.parametrize('gpus, platforms, jobs_asked, message', [
  ('0,1', '', 3, '--jobs=3: this machine has 2 GPUs'),
  ('', '', 5, '--jobs=5: this machine has 4 processor cores'),
  ('0', 'cpu', 5, '--jobs=5: this machine has 4 processor cores'),
  ('', '', 0, '--jobs=0: must be positive'), ('', '', -1, '--jobs=-1: must be positive'),
])
def test_too_many_jobs_are_one_line(monkeypatch, gpus, platforms, jobs_asked, message):
  monkeypatch.setenv('JAX_PLATFORMS', platforms)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', gpus)
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {*range(4)}, raising=False)
  with pytest.raises(UserError) as error:
    jobs.shares(jobs_asked)
  assert str(error.value) == message


def test_gpus_are_listed_without_starting_one(monkeypatch, tmp_path):
  monkeypatch.delenv('JAX_PLATFORMS')
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  monkeypatch.setenv('PATH', str(tmp_path))
  assert jobs.visible_gpus() == []
  lines = ('GPU 0: NVIDIA H100 (UUID: GPU-1)', '  MIG 1g.10gb', 'GPU 1: NVIDIA H100')
  program = tmp_path / 'nvidia-smi'
  program.write_text(f'#!{sys.executable}\nprint({chr(10).join(lines)!r})\n')
  program.chmod(0o755)
  assert jobs.visible_gpus() == ['0', '1']
  for platforms, visible in (('', ''), ('cpu', '0,1')):
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    assert jobs.visible_gpus() == []


def started(*runs):
  """Calls nothing until all processes of runs have started."""
  while not all((run.folder / 'told.json').exists() for run in runs):
    time.sleep(0.005)


def test_sigterm_reaches_all_runs_and_starts_no_more(tiny):
  a, b, c = tiny('a', seconds=60), tiny('b', seconds=60), tiny('c')

  def send():
    started(a, b)
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=send)
  thread.start()
  with pytest.raises(Interrupted) as stopped:
    execute([a, b, c], [Share(), Share()])
  thread.join()
  assert stopped.value.exit_code == 42
  for run in (a, b):
    assert (run.folder / 'saved').exists()
    assert run.note()['exit_code'] == 42 and run.status() == 'stopped'
  assert not c.folder.exists()


def test_a_full_disk_stops_the_other_runs(tiny, monkeypatch):
  """They save their state; none goes on after the sweep has ended."""
  a, b = tiny('a', others=2), tiny('b', others=2, seconds=60)

  def full(path, text):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(files, 'replace', full)
  with pytest.raises(OSError, match='No space left on device'):
    execute([a, b], [Share(), Share()])
  while not (b.folder / 'saved').exists():  # the test would run into its time limit
    time.sleep(0.005)


def test_a_failed_run_frees_its_share(tiny):
  broken = tiny('a')._replace(arguments=('nowhere/at/all', '1', '0'))
  later = tiny('b')
  execute([broken, later], [Share()])
  assert (broken.status(), later.status()) == ('failed 1', 'done')
  output = (broken.folder / 'output.txt').read_text().splitlines()
  assert output[0] == '$ tiny' and output[-1].startswith('FileNotFoundError: ')
