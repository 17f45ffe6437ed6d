"""The execution of runs: several at a time, each on its own share of the cores or devices."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tqdm

from posjax.errors import UserError
from posjax.runtime import files, program, signals
from posjax.sweep.runs import Run

POLL = 0.2  # seconds


class Share(NamedTuple):
  """What one run at a time may use: processor cores, and environment variables that name a GPU."""

  cores: tuple[int, ...] = ()
  environment: tuple[tuple[str, str], ...] = ()


def shares(jobs: int) -> list[Share]:
  """Returns equal shares of the cores, and of the GPUs if there are any, for `jobs` processes.

  Raises:
    UserError: there are fewer cores or GPUs than jobs.
  """
  if jobs < 1:
    raise UserError(f'--jobs={jobs}: must be positive')
  if jobs == 1:
    return [Share()]
  gpus = visible_gpus()
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else []
  for found, what in ((gpus, 'GPUs'), (cores, 'processor cores')):
    if found and len(found) < jobs:
      raise UserError(f'--jobs={jobs}: this machine has {len(found)} {what}')
  cut = lambda whole, i: tuple(whole[len(whole) * i // jobs : len(whole) * (i + 1) // jobs])
  name = lambda i: (('CUDA_VISIBLE_DEVICES', ','.join(cut(gpus, i))),) if gpus else ()
  return [Share(cut(cores, i), name(i)) for i in range(jobs)]


def visible_gpus() -> list[str]:
  """Returns the NVIDIA GPUs that a program may use, without starting one."""
  if os.environ.get('JAX_PLATFORMS') == 'cpu':
    return []
  if (named := os.environ.get('CUDA_VISIBLE_DEVICES')) is not None:
    return named.split(',') if named else []
  if not shutil.which('nvidia-smi'):
    return []
  listed = subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True, check=False)
  gpus = [line for line in listed.stdout.splitlines() if line.startswith('GPU')]
  return [str(number) for number in range(len(gpus))]


class Process:
  """A run in progress."""

  def __init__(self, run: Run, share: Share) -> None:
    self.run, self.share = run, share
    run.folder.mkdir(parents=True, exist_ok=True)
    self._before, self._start = run.note(), time.perf_counter()
    command = [sys.executable, '-m', run.program, *run.arguments]
    with (run.folder / 'output.txt').open('a') as output, on_cores(share.cores):
      print(f'$ {run.command}', file=output, flush=True)
      self._process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT,
        env={**os.environ, **dict(share.environment)},
      )

  def terminate(self) -> None:
    self._process.terminate()

  def ended(self) -> bool:
    """Returns whether the process has ended; if so, writes sweep.json."""
    pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
    if not pid:
      return False
    self._process.returncode = os.waitstatus_to_exitcode(status)
    mebibyte = 2**20 if sys.platform == 'darwin' else 2**10  # in units of ru_maxrss
    seconds, cpu = time.perf_counter() - self._start, usage.ru_utime + usage.ru_stime
    note = {
      'exit_code': self._process.returncode,
      # Of all attempts.
      'seconds': round(self._before.get('seconds', 0) + seconds, 1),
      'cpu_seconds': round(self._before.get('cpu_seconds', 0) + cpu, 1),
      'peak_mebibytes': round(usage.ru_maxrss / mebibyte),
      'python': platform.python_version(),
      'jax': importlib.metadata.version('jax'),
    }
    files.replace(self.run.folder / 'sweep.json', json.dumps(note) + '\n')
    return True


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
  """Processes that start in the block run on these cores; () stands for all."""
  if not cores:
    yield
    return
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, cores)
  try:
    yield
  finally:
    os.sched_setaffinity(0, before)


def execute_all(
  runs: Sequence[Run], free: list[Share], after_each: Callable[[], Any], what: str = ''
) -> None:
  """Executes unfinished runs, one on each share; a failed run does not stop the others.

  Calls `after_each` once before the first run, when the devices are known to exist, and after each.
  """
  todo = [run for run in runs if not run.settled()]
  if todo:
    program.check_devices()
  after_each()
  count = dict(total=len(runs), initial=len(runs) - len(todo), dynamic_ncols=True)
  shape = f'{what}{{n_fmt}}/{{total_fmt}} [{{elapsed}}<{{remaining}}] {{desc}} {{bar}}'
  running: list[Process] = []
  # A batch system may send the signal to the sweep only.
  stop = lambda: [process.terminate() for process in running]
  leave = contextlib.ExitStack()
  leave.callback(stop)  # after an error, such as a full disk, no run may go on unseen
  with (
    tqdm.tqdm(**count, bar_format=shape, disable=not runs) as bar,
    signals.defer_signals(then=stop) as came, leave,
  ):
    while running or (todo and not came):
      while todo and free and not came:
        running.append(Process(todo.pop(0), free.pop(0)))
        if came:  # before the process existed
          running[-1].terminate()
      for process in [process for process in running if process.ended()]:
        running.remove(process)
        free.append(process.share)
        after_each()
        bar.update()
      if running:
        told = running[0].run.progress() + f' and {len(running) - 1} more' * (len(running) > 1)
        bar.set_description_str(told, refresh=sys.stderr.isatty())
        time.sleep(POLL)
