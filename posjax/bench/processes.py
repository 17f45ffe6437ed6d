"""The processes of subjects; at most one of them computes at a time."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, TextIO

from posjax.bench import ours
from posjax.bench.subjects import WARM, Subject
from posjax.errors import UserError

FIRST_STEP = 'step 1/'  # the line that posjax.main prints after its first step starts so


def pin(core: str) -> int:
  """Pins this process and its children to one core, with one thread; '' is the last core.

  Raises:
    UserError: this process cannot use that core, or the system cannot pin processes.
  """
  if not hasattr(os, 'sched_setaffinity'):
    raise UserError('--pin: this system cannot pin a process to a core; run without --pin')
  cores = sorted(os.sched_getaffinity(0))
  if core and core not in map(str, cores):
    raise UserError(f'--pin={core}: must be one of {", ".join(map(str, cores))}')
  core = int(core or cores[-1])
  os.sched_setaffinity(0, {core})
  os.environ |= {
    'XLA_FLAGS': os.environ.get('XLA_FLAGS', '')
    + ' --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1',
    'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1',
  }
  return core


def start(subject: Subject, log: TextIO) -> 'Cold | Warm':
  return Cold(subject, log) if subject.case == 'start' else Warm(subject, log)


def worker(subject: Subject, *arguments: str) -> list[str]:
  return [
    sys.executable, '-m', 'posjax.bench.worker', json.dumps(subject._asdict()), *arguments
  ]


def cold(subject: Subject) -> list[str]:
  """Returns the command of a cold start: posjax.main, or a worker for other programs."""
  if subject.module == 'ours':
    return [sys.executable, '-m', 'posjax.main', *ours.arguments(subject)]
  return worker(subject, 'once')


class Warm:
  """A subject whose process stays compiled and warm; `about` is its first answer."""

  def __init__(self, subject: Subject, log: TextIO) -> None:
    self.process = subprocess.Popen(
      worker(subject), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    )
    self.about = self._answer()

  def turn(self) -> dict[str, Any]:
    """Returns the seconds of a call, {'cpu': …, 'wall': …}, or {'error': …}."""
    with contextlib.suppress(BrokenPipeError):  # the process has ended; its answer says why
      print('run', file=self.process.stdin, flush=True)
    return self._answer()

  def _answer(self):
    line = self.process.stdout.readline()
    return json.loads(line) if line else ended(self.process.wait())

  def close(self) -> None:
    self.process.kill()
    self.process.communicate()


class Cold:
  """A subject that starts a process in each turn and runs it to the end of its first call.

  posjax.main would continue, so it is killed when it prints its first step.

  The first turn is not counted. It loads the files into the system's page cache and fills the
  compile cache, which only the variant WARM uses.
  """

  def __init__(self, subject: Subject, log: TextIO) -> None:
    self.subject, self.log, self.command = subject, log, cold(subject)
    self.cache = tempfile.TemporaryDirectory()
    first = self.turn()
    self.about = {'error': first['error']} if 'error' in first else {'planned': None}

  def turn(self) -> dict[str, Any]:
    cached = {
      'JAX_ENABLE_COMPILATION_CACHE': 'true', 'JAX_COMPILATION_CACHE_DIR': self.cache.name,
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }
    own = cached if self.subject.variant == WARM else {'JAX_ENABLE_COMPILATION_CACHE': 'false'}
    begin = time.perf_counter()
    with (
      tempfile.TemporaryDirectory() as folder,
      subprocess.Popen(
        self.command, stdout=subprocess.PIPE, stderr=self.log, text=True,
        cwd=folder, env=os.environ | own,
      ) as process,
    ):
      said = ''
      for said in process.stdout:
        if said.startswith(FIRST_STEP):
          process.kill()
          break
      _, status, usage = os.wait4(process.pid, 0)
      process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and not said.startswith(FIRST_STEP):
      return ended(process.returncode)
    if said.startswith('{'):
      return json.loads(said)
    return {'cpu': usage.ru_utime + usage.ru_stime, 'wall': time.perf_counter() - begin}

  def close(self) -> None:
    self.cache.cleanup()


def ended(code: int) -> dict[str, Any]:
  return {'error': f'its process ended with exit code {code}; see bench.log'}
