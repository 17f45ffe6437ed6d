"""An experiment's file and its runs: their results, their progress and their execution."""

import contextlib
import functools
import importlib.metadata
import json
import math
import platform
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tqdm
from ml_collections import ConfigDict

from posjax import config as config_lib
from posjax import metrics, ngram, tasks
from posjax import run as run_lib
from posjax.errors import UserError, one_of
from posjax.runtime import files, program, signals
from posjax.sweep import table

# Programs that an arm can run, by module: functions that parse their command lines.
PROGRAMS = {
  'posjax.main': lambda arguments: run_lib.parse(['posjax', *arguments]),
  'posjax.ngram': ngram.parse,
}


class Run(NamedTuple):
  """One arm with one seed. Its progress is stored in its folder only."""

  arm: str
  seed: int
  program: str  # a key of PROGRAMS
  arguments: tuple[str, ...]  # for the program
  folder: Path
  config: ConfigDict
  command: str  # as a user types it

  def __str__(self) -> str:
    return f'{self.arm}, seed {self.seed}'

  def result(self) -> dict[str, Any]:
    """Returns evaluation.json; {} before the run is done, even if a checkpoint was evaluated."""
    result = read(self.folder / 'evaluation.json')
    return result if result.get('step') == self.config.train.steps else {}

  def note(self) -> dict[str, Any]:
    """Returns sweep.json, which `execute` writes; {} before the first attempt."""
    return read(self.folder / 'sweep.json')

  def progress(self) -> str:
    """Returns loss, step and time left during training; otherwise the last line of output."""
    now, speed = (metrics.newest(self.folder / file) for file in (metrics.METRICS, metrics.SPEED))
    steps = self.config.train.steps
    if not now or not speed or now['step'] == steps:
      return f'{self}: {last_line(self.folder / "output.txt")}'
    left = tqdm.tqdm.format_interval((steps - speed['step']) * speed['seconds'] / speed['step'])
    loss = math.nan if now['loss'] is None else now['loss']
    return f'loss {loss:.3f}, step {now["step"]}/{steps}, {left} left: {self}'

  def status(self) -> str:
    if self.result():
      return 'done'
    if not self.note():
      return 'missing'
    code = self.note()['exit_code']
    return 'stopped' if code in (0, 42, 130) else f'failed {code}'


def read(path: Path) -> dict[str, Any]:
  return json.loads(path.read_text('utf-8')) if path.exists() else {}


def last_line(path: Path) -> str:
  return path.read_text(errors='replace').strip().splitlines()[-1]


def load(path: Path) -> tuple[str, dict[str, tuple[str, ...]], tuple[int, ...]]:
  """Returns the claim, the arms and the seeds of an experiment's file.

  Raises:
    UserError: the file is missing or invalid.
  """
  if not path.is_file():
    raise UserError(f'{path}: no such file; an example is experiments/extrapolation.py')
  with config_lib.blame_file(path):
    names = runpy.run_path(str(path))
  claim, arms, seeds = (names.get(name) for name in ('__doc__', 'ARMS', 'SEEDS'))
  if not claim:
    raise UserError(f'{path}: its docstring must state the claim and the paper')
  # A one-element tuple without its comma is a string, and each letter would be an argument.
  if not isinstance(arms, dict) or {*map(type, arms.values())} != {tuple}:
    raise UserError(f"{path}: ARMS must be a dict like {{'rope': ('--config=configs/rope.py',)}}")
  for arm in arms:
    if not isinstance(arm, str) or not re.fullmatch(r'[^\W_][\w.+=-]{0,59}', arm):
      raise UserError(
        f'{path}: ARMS: {arm!r} cannot name a folder: an arm begins with a letter or a digit and '
        'has letters, digits and . _ + = - only, 60 at most'
      )
  if not isinstance(seeds, tuple) or {*map(type, seeds)} != {int} or len({*seeds}) < len(seeds):
    raise UserError(f'{path}: SEEDS must be a tuple of different integers, such as (0, 1, 2)')
  return claim.strip().splitlines()[0], arms, seeds


def plan(
  path: Path, arms: dict[str, tuple[str, ...]], seeds: Sequence[int], workdir: Path
) -> list[Run]:
  """Returns all runs of the experiment at `path`, arm by arm.

  Raises:
    UserError: an arm's arguments are invalid, or two arms cannot be compared in one table.
  """
  runs = []
  for arm, arguments in arms.items():
    for seed in seeds:
      folder = workdir / f'{arm}-{seed}'
      try:
        module, own = split(arguments)
        whole = (*own, f'--workdir={folder}', f'--config.seed={seed}')
        parsed = PROGRAMS[module](whole)
      except UserError as error:
        raise UserError(f'{path}: arm {arm}: {error}') from error
      runs.append(Run(arm, seed, module, whole, folder, parsed.config, parsed.command))
  table.check_alike([(run, shared(run.config)) for run in runs])
  return runs


def shared(config: ConfigDict) -> dict[str, Any]:
  """Returns the flat keys and values of a config that all arms of one table have."""
  name = config.task.name
  own = {f'task.{name}.{argument}' for argument in tasks.find(name).may_differ}
  found = table.select(config, ('data', 'task', 'train.steps', 'train.length', 'evaluate'))
  return {key: value for key, value in found.items() if key not in own}


def split(arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
  """Returns the program and its arguments; posjax.main if an arm begins with a flag."""
  if not arguments or arguments[0].startswith('-'):
    return 'posjax.main', arguments
  module, *own = arguments
  if module not in PROGRAMS:
    raise UserError(f'{module}: {one_of(module, PROGRAMS, "a program")}')
  return module, tuple(own)


def execute(run: Run, show: Callable[[str], Any]) -> None:
  """Starts or resumes a run; its output goes to output.txt, its exit code to sweep.json.

  `show` is called every second with the run's progress.
  """
  run.folder.mkdir(parents=True, exist_ok=True)
  before, start = run.note().get('seconds', 0), time.perf_counter()
  process = None
  # A batch system may send the signal to the sweep only.
  with signals.defer_signals(then=lambda: process and process.terminate()) as came:
    with (run.folder / 'output.txt').open('a') as output:
      print(f'$ {run.command}', file=output, flush=True)
      command = [sys.executable, '-m', run.program, *run.arguments]
      process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    if came:  # before the process existed
      process.terminate()
    running = True
    while running:
      show(run.progress())
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
        running = False
    note = {
      'exit_code': process.returncode,
      'seconds': round(before + time.perf_counter() - start, 1),  # of all attempts
      'python': platform.python_version(),
      'jax': importlib.metadata.version('jax'),
    }
    files.replace(run.folder / 'sweep.json', json.dumps(note) + '\n')


def manifest(path: Path, claim: str, runs: Sequence[Run]) -> str:
  """Returns the experiment as JSON: versions of the software, and each run with its result."""
  entries = [
    {
      'arm': run.arm, 'seed': run.seed, 'command': run.command, 'directory': str(run.folder),
      'status': run.status(), **run.note(),
      **{k: v for k, v in run.result().items() if k != 'by_position'},  # too long for here
    }
    for run in runs
  ]
  # Lists, since a sweep may resume after an update. `code` is posjax's version and commit.
  made_with = {
    key: sorted({entry[key] for entry in entries if key in entry})
    for key in ('code', 'python', 'jax')
  }
  contents = {'experiment': str(path), 'claim': claim, **made_with, 'runs': entries}
  return json.dumps(contents, indent=2) + '\n'


def execute_all(runs: Sequence[Run], after_each: Callable[[], Any]) -> None:
  """Executes unfinished runs one after the other; a failed run does not stop the next one."""
  todo = [run for run in runs if not run.result()]
  if todo:
    program.check_devices()
  count = dict(total=len(runs), initial=len(runs) - len(todo), dynamic_ncols=True)
  shape = '{n_fmt}/{total_fmt} [{elapsed}<{remaining}] {desc} {bar}'
  with tqdm.tqdm(**count, bar_format=shape, disable=not runs) as bar:
    show = functools.partial(bar.set_description_str, refresh=sys.stderr.isatty())
    for run in todo:
      try:
        execute(run, show)
      finally:
        after_each()
      bar.update()
