"""Trains and evaluates every arm of an experiment with every seed, and prints one table.

  python -m posjax.sweep experiments/extrapolation.py

An experiment is a Python file: its docstring states the claim and the paper, ARMS names command
lines of posjax.main, {'rope': ('--config=configs/rope.py',), ...}, and SEEDS lists the seeds of
each arm, (0, 1, 2). An arm may name another program first, the n-gram model: ('posjax.ngram',
'--config=configs/rope.py', '--order=6'). The same command resumes a stopped sweep.

Exit codes: 0 done; 130 stopped by Ctrl-C, 42 by SIGTERM; 1 a run failed; 2 a mistake in the command
line or the file, or no device. A stopped run saves its state first.
"""

# ruff: noqa: E402  (`begin` runs before the slow imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import os
import shlex
import sys
from collections.abc import Collection
from pathlib import Path

from posjax.errors import UserError, one_of
from posjax.runtime import files
from posjax.sweep import figure, table
from posjax.sweep import runs as runs_lib

PROGRAM = 'python -m posjax.sweep'


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line. Raises UserError if it is invalid."""
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument('experiment', help="the experiment's file")
  parser.add_argument(
    '--workdir', type=program.folder('--workdir'),
    help='folder of the runs; by default runs/sweeps/EXPERIMENT',
  )
  parser.add_argument('--arms', help='run only these, such as nope,rope')
  parser.add_argument('--seeds', help='run only these, such as 0,1')
  parser.add_argument(
    '--table', action='store_true', help='run nothing; print and draw the finished runs'
  )
  parser.add_argument(
    '--against', help='also print the difference of each arm to this one, paired by seed'
  )
  return parser.parse_args(argv)


def sweep(options: argparse.Namespace) -> int:
  """Runs the sweep, or only prints it with --table; returns the exit code."""
  path = Path(os.path.expanduser(options.experiment))
  claim, arms, seeds = runs_lib.load(path)
  workdir = options.workdir or Path(f'runs/sweeps/{path.stem}')
  runs = runs_lib.plan(path, arms, seeds, workdir)
  arms = choose('arms', options.arms, arms)
  choose('against', options.against, arms)
  seeds = choose('seeds', options.seeds, [str(seed) for seed in seeds])
  chosen = [run for run in runs if run.arm in arms and str(run.seed) in seeds]
  wanted, shown = ([], chosen) if options.table else (chosen, runs)
  # Check that finished runs are comparable before spending hours on the others.
  if not table.finished(shown) and options.table:
    raise UserError(f'{workdir}: no run is done yet')
  save = lambda: files.replace(workdir / 'manifest.json', runs_lib.manifest(path, claim, runs))
  runs_lib.execute_all(wanted, save)
  save()
  if done := table.finished(shown):
    text = table.tables(claim, shown, done, options.against)
    files.replace(workdir / 'table.md', text)
    figure.draw(done, claim, workdir / 'by_length.png')
    print(f'\n{text}\ntable:    {workdir / "table.md"}\nfigure:   {workdir / "by_length.png"}')
  print(f'manifest: {workdir / "manifest.json"}')
  again = shlex.join([str(path), f'--workdir={workdir}'])
  print(f'next:     {PROGRAM} {again}  # runs only what is missing, such as an arm you add')
  failed = [run for run in wanted if not run.result()]
  for run in failed:
    output = run.folder / 'output.txt'
    code = run.note()['exit_code']
    program.fail(1, f'{run}: exit code {code}: {runs_lib.last_line(output)}; see {output}')
  return 1 if failed else 0


def choose(flag: str, text: str | None, names: Collection[str]) -> Collection[str]:
  """Returns the names that --flag=text lists, by default all. Raises UserError for unknown ones."""
  chosen = text.split(',') if text else names
  for name in chosen:
    if name not in names:
      raise UserError(f'--{flag}={text}: {one_of(name, names, "each")}')
  return chosen


def main(argv: list[str]) -> int:
  return program.run_program(lambda: sweep(parse(argv)))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
