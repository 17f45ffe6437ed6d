"""Trains and evaluates every arm of an experiment with every seed, and prints one table.

  python -m posjax.sweep experiments/extrapolation.py

An experiment is a Python file: its docstring states the claim and the paper, ARMS names command
lines of posjax.main, {'rope': ('--config=configs/rope.py',), ...}, and SEEDS, (0, 1, 2), says what
each of them runs with. The same command goes on where a sweep stopped.

Exit codes: 0 done; 130 stopped by Ctrl-C, 42 by SIGTERM; 1 a run failed; 2 a mistake in the command
line or the file, or no device. The run that is stopped saves first.
"""

# ruff: noqa: E402  (a program begins before its imports)
from posjax import run as run_lib
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import contextlib
import functools
import importlib.metadata
import json
import math
import os
import platform
import re
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import tqdm
from ml_collections import ConfigDict

from posjax import config as config_lib
from posjax import metrics, pool
from posjax.config import validation
from posjax.errors import UserError, one_of
from posjax.runtime import files, signals

PROGRAM = 'python -m posjax.sweep'


class Run(NamedTuple):
  """One arm with one seed. How far it is stands in its folder and nowhere else."""

  arm: str
  seed: int
  arguments: tuple[str, ...]  # of posjax.main
  folder: Path
  config: ConfigDict
  command: str  # as one types it

  def __str__(self):
    return f'{self.arm}, seed {self.seed}'

  def result(self):
    """What evaluation.json holds; {} before the run is done, whoever has evaluated it so far."""
    result = read(self.folder / 'evaluation.json')
    return result if result.get('step') == self.config.train.steps else {}

  def note(self):
    """What `execute` noted; {} before the first time."""
    return read(self.folder / 'sweep.json')

  def progress(self):
    """Loss, step and time left while it trains; before and after, what it said last."""
    now, speed = (metrics.newest(self.folder / file) for file in (metrics.METRICS, metrics.SPEED))
    steps = self.config.train.steps
    if not now or not speed or now['step'] == steps:
      return f'{self}: {last_line(self.folder / "output.txt")}'
    left = tqdm.tqdm.format_interval((steps - speed['step']) * speed['seconds'] / speed['step'])
    loss = math.nan if now['loss'] is None else now['loss']
    return f'loss {loss:.3f}, step {now["step"]}/{steps}, {left} left: {self}'

  def status(self):
    if self.result():
      return 'done'
    if not self.note():
      return 'missing'
    code = self.note()['exit_code']
    return 'stopped' if code in (0, 42, 130) else f'failed {code}'


def read(path):
  return json.loads(path.read_text('utf-8')) if path.exists() else {}


def last_line(path):
  return path.read_text(errors='replace').strip().splitlines()[-1]


class Parser(argparse.ArgumentParser):
  def error(self, message):
    raise UserError(message)


def folder(flag, text):
  """The folder that `flag` names. Raises UserError if it is not one of this machine."""
  validation.check_local(flag, text)
  return Path(os.path.expanduser(text))


def parse(argv):
  """The options of a command line. Raises UserError for what is wrong with it."""
  parser = Parser(
    prog=PROGRAM, description=__doc__, allow_abbrev=False,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('experiment', help='its file')
  parser.add_argument(
    '--workdir', type=functools.partial(folder, '--workdir'),
    help='folder of the runs; by default runs/sweeps/EXPERIMENT',
  )
  parser.add_argument('--arms', help='run only these, such as nope,rope')
  parser.add_argument('--seeds', help='run only these, such as 0,1')
  parser.add_argument('--table', action='store_true', help='run nothing, print what is there')
  options = parser.parse_args(argv)
  if options.table and (options.arms or options.seeds):
    raise UserError('--table runs nothing, so that --arms and --seeds mean nothing')
  return options


def load(path):
  """The claim, the arms and the seeds that an experiment's file states.

  Raises:
    UserError: for everything that can be wrong with the file.
  """
  if not path.is_file():
    raise UserError(f'{path}: no such file; an example is experiments/extrapolation.py')
  with config_lib.blaming(path):
    names = runpy.run_path(str(path))
  claim, arms, seeds = (names.get(name) for name in ('__doc__', 'ARMS', 'SEEDS'))
  if not claim:
    raise UserError(f'{path}: its docstring must state the claim and the paper')
  # A tuple that lacks its comma is a string, and each letter would be an argument.
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


def plan(path, arms, seeds, workdir):
  """All runs of the experiment at `path`, arm by arm.

  Raises:
    UserError: an arm's arguments are wrong, or two arms could not stand in one table.
  """
  runs = []
  for arm, arguments in arms.items():
    for seed in seeds:
      folder = workdir / f'{arm}-{seed}'
      whole = (*arguments, f'--workdir={folder}', f'--config.seed={seed}')
      try:
        parsed = run_lib.parse(['posjax', *whole])
      except UserError as error:
        raise UserError(f'{path}: arm {arm}: {error}') from error
      runs.append(Run(arm, seed, whole, folder, parsed.config, parsed.command))
  shared = ('data', 'train.steps', 'train.length', 'evaluate')
  pool.check_alike([(run, pool.select(run.config, shared)) for run in runs])
  return runs


def execute(run, show):
  """Does what is left of a run; what it prints goes to output.txt, how it ended to sweep.json.

  `show` is called every second with how far it is.
  """
  run.folder.mkdir(parents=True, exist_ok=True)
  before, start = run.note().get('seconds', 0), time.perf_counter()
  process = None
  # A batch system may have told the sweep alone.
  with signals.noted(then=lambda: process and process.terminate()) as came:
    with (run.folder / 'output.txt').open('a') as output:
      print(f'$ {run.command}', file=output, flush=True)
      command = [sys.executable, '-m', 'posjax.main', *run.arguments]
      process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    if came:  # while there was no process yet
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


def manifest(path, claim, runs):
  """The whole experiment as JSON: what it was made with, and each run with its result."""
  entries = [
    {
      'arm': run.arm, 'seed': run.seed, 'command': run.command, 'directory': str(run.folder),
      'status': run.status(), **run.note(),
      **{k: v for k, v in run.result().items() if k != 'by_position'},  # too long for here
    }
    for run in runs
  ]
  # Lists: a sweep may have gone on after an update. `code` is posjax's version and commit.
  made_with = {
    key: sorted({entry[key] for entry in entries if key in entry})
    for key in ('code', 'python', 'jax')
  }
  contents = {'experiment': str(path), 'claim': claim, **made_with, 'runs': entries}
  return json.dumps(contents, indent=2) + '\n'


def sweep(options):
  """Does what the command line asks for and returns the exit code."""
  path = Path(os.path.expanduser(options.experiment))
  claim, arms, seeds = load(path)
  workdir = options.workdir or Path(f'runs/sweeps/{path.stem}')
  runs = plan(path, arms, seeds, workdir)
  arms = choose('arms', options.arms, arms)
  seeds = choose('seeds', options.seeds, [str(seed) for seed in seeds])
  # What is there must fit before hours go into the rest.
  if not pool.finished(runs) and options.table:
    raise UserError(f'{workdir}: no run is done yet')
  wanted = [
    run for run in runs if run.arm in arms and str(run.seed) in seeds and not options.table
  ]
  save = lambda: files.replace(workdir / 'manifest.json', manifest(path, claim, runs))
  execute_all(wanted, save)
  save()
  if done := pool.finished(runs):
    text = pool.tables(claim, runs, done)
    files.replace(workdir / 'table.md', text)
    print(f'\n{text}\ntable:    {workdir / "table.md"}')
  print(f'manifest: {workdir / "manifest.json"}')
  again = shlex.join([str(path), f'--workdir={workdir}'])
  print(f'next:     {PROGRAM} {again}  # runs only what is missing, such as an arm you add')
  failed = [run for run in wanted if not run.result()]
  for run in failed:
    output = run.folder / 'output.txt'
    code = run.note()['exit_code']
    program.fail(1, f'{run}: exit code {code}: {last_line(output)}; see {output}')
  return 1 if failed else 0


def choose(flag, text, names):
  """The names that --flag=text lists, by default all. Raises UserError for another one."""
  chosen = text.split(',') if text else names
  for name in chosen:
    if name not in names:
      raise UserError(f'--{flag}={text}: {one_of(name, names, "each")}')
  return chosen


def execute_all(runs, after_each):
  """Runs what is not done, one after the other, whatever becomes of the others."""
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


def main(argv):
  return program.answer(lambda: sweep(parse(argv)))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
