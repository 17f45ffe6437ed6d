"""Starts, kills, watches and compares the real program as a subprocess, for fault injection."""

import ctypes
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
  'train.steps=400', 'train.batch=8', 'train.length=16', 'train.log_every=5', 'optimizer.warmup=2',
  'model.dim=32', 'model.head_dim=8', 'model.hidden=64', 'model.dropout=0.1',
  'checkpoint.every=50', 'task.text.validation_tokens=512', 'task.text.tokens=512',
  'task.text.stride=8', 'task.text.windows=8', 'evaluate.multiples=1,2',
)
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, capability.h
RESULTS = ('metrics.jsonl', 'evaluation.json')  # identical bit for bit in two runs of a plan


class Lab:
  """A folder with a corpus, undisturbed reference runs, and all output."""

  def __init__(self, root):
    self.root = pathlib.Path(root)
    self.corpus = self.root / 'numbers.txt'
    self.corpus.write_text('\n'.join(f'line {i} follows line {i - 1}' for i in range(1, 800)))
    self.transcript = []
    self.environment = os.environ | {
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': '',
      'JAX_COMPILATION_CACHE_DIR': str(self.root / 'compiled'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.2',
      'XDG_CACHE_HOME': str(self.root / 'caches'),
      'PYTHONPATH': str(ROOT),
    }

  def settings(self, *overrides):
    return (f'data.corpus=text:{self.corpus}', *SMALL, *overrides)

  def command(self, workdir, *overrides):
    return [
      sys.executable, '-m', 'posjax.main', '--config=rope', f'--workdir={self.root / workdir}',
      *(f'--config.{setting}' for setting in self.settings(*overrides)),
    ]

  def typed(self, workdir):
    """Returns the command as the program prints it."""
    return shlex.join(self.command(workdir))

  def start(self, workdir, *overrides, **settings):
    """Starts a run whose output goes to `workdir`.out; `settings` are passed to Popen."""
    with (self.root / f'{workdir}.out').open('a') as output:
      return subprocess.Popen(
        self.command(workdir, *overrides), stdout=output, stderr=subprocess.STDOUT, cwd=self.root,
        **{'env': self.environment} | settings,
      )

  def run(self, workdir, *overrides, code=0, goes_on_from=None, flags=(), **settings):
    """Runs to the end and returns the output; expects exit code `code` and no traceback.

    Expects to resume from the newest checkpoint, unless a step is given or `flags` name a mode.
    """
    step = self.newest(workdir) if goes_on_from is None else goes_on_from
    command = [*self.command(workdir, *overrides), *flags]
    done = subprocess.run(
      command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.root,
      check=False, **{'env': self.environment} | settings,
    )
    told = ' '.join([*flags, *(f'--config.{override}' for override in overrides)])
    self.transcript.append(f'$ python -m posjax.main --workdir={workdir} {told}'.rstrip())
    self.transcript += [line for line in done.stdout.splitlines() if telling(line)]
    self.transcript.append(f'exit code {done.returncode}')
    assert done.returncode == code, done.stdout
    assert 'Traceback' not in done.stdout, done.stdout
    if step and not code and not flags:
      assert f'resuming after step {step}\n' in done.stdout, done.stdout
    return done.stdout

  def kill(self, process, when, number=signal.SIGKILL):
    """Sends the signal as soon as `when()` holds; fails if the process ends earlier."""
    while not when():
      assert process.poll() is None, 'the process ended before the signal was due'
      time.sleep(0.001)
    process.send_signal(number)
    return process.wait()

  def answers(self, process, number):
    """Returns whether a process handles the signal."""
    status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
    return int(re.search(r'SigCgt:\s*(\w+)', status)[1], 16) >> number - 1 & 1

  def whole(self, name, *overrides):
    """Returns the folder of an undisturbed run, which the first call creates."""
    if not (self.root / name / 'evaluation.json').exists():
      self.run(name, *overrides)
    return self.root / name

  def copy(self, name, workdir):
    shutil.copytree(self.whole(name), self.root / workdir)
    return self.root / workdir

  def steps(self, workdir):
    """Returns the steps of all checkpoints in the folder."""
    folder = self.root / workdir / 'checkpoints'
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal())

  def newest(self, workdir):
    folder = self.root / workdir / 'checkpoints'
    return max(self.steps(workdir), default=0) if folder.exists() else 0

  def lines(self, workdir):
    path = self.root / workdir / 'metrics.jsonl'
    return path.read_text().splitlines() if path.exists() else []

  def assert_nothing_lost(self, workdir, whole='whole'):
    """Asserts that all results equal those of the undisturbed run bit for bit."""
    for file in RESULTS:
      same = (self.root / workdir / file).read_bytes() == (self.whole(whole) / file).read_bytes()
      assert same, f'{workdir}/{file} differs from {whole}'

  def losses(self, workdir):
    return [json.loads(line)['loss'] for line in self.lines(workdir)]


def without_privileges():
  """Drops root's power to ignore file permissions, from the exec of this child process on."""
  libc = ctypes.CDLL(None)
  for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) if sys.platform == 'linux' else ():
    libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def telling(line):
  """Returns whether a line of a run's output belongs in a transcript."""
  return line.startswith(('posjax:', 'checkpoint ', 'resuming'))
