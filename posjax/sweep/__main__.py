"""Trains and evaluates every arm of an experiment with every seed, and judges its claims.

  python -m posjax.sweep experiments/extrapolation.py
  python -m posjax.sweep experiments/papers/alibi.py --tier=smoke --jobs=2

An experiment is a Python file: its docstring states the question and the paper, ARMS names command
lines of posjax.main, {'rope': ('--config=configs/rope.py',), ...}, and SEEDS lists the seeds of
each arm, (0, 1, 2). With RATES, each arm first tries these learning rates with another seed and
keeps the best on validation. CLAIMS are inequalities to judge; docs/experiments.md describes all
names. An arm may name another program first, the n-gram model: ('posjax.ngram',
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
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from posjax.errors import UserError, one_of
from posjax.runtime import files
from posjax.sweep import cost, figure, jobs, manifest, table
from posjax.sweep import experiment as experiments
from posjax.sweep import runs as runs_lib
from posjax.sweep.runs import Run

PROGRAM = 'python -m posjax.sweep'


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line. Raises UserError if it is invalid."""
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument('experiment', help="the experiment's file")
  parser.add_argument('--tier', default='cpu', help='smoke, cpu, or another tier of the file')
  parser.add_argument(
    '--workdir', type=program.folder('--workdir'),
    help='folder of the runs; by default runs/sweeps/EXPERIMENT, then -TIER unless it is cpu',
  )
  parser.add_argument('--arms', help='run only these, such as nope,rope')
  parser.add_argument('--seeds', help='run only these, such as 0,1')
  parser.add_argument(
    '--jobs', type=int, default=1, help='runs at a time, which share the cores or the GPUs'
  )
  parser.add_argument('--part', default='1/1', help='run only this share, such as 3/8: in an array')
  parser.add_argument('--list', action='store_true', help='run nothing; print all known commands')
  parser.add_argument(
    '--cost', action='store_true', help='run nothing; print FLOPs and device hours on paper'
  )
  parser.add_argument(
    '--table', action='store_true', help='run nothing; print and draw the finished runs'
  )
  parser.add_argument(
    '--against', help='also print the difference of each arm to this one, paired by seed'
  )
  return parser.parse_args(argv)


class Chosen(NamedTuple):
  """The share of an experiment that a command line chooses."""

  arms: Collection[str]
  seeds: Collection[str]
  part: tuple[int, int]

  def runs(self, stage: Sequence[Run]) -> list[Run]:
    """Returns the runs of a stage to execute; learning rates have a seed of their own."""
    part, parts = self.part
    mine = [run for run in stage[part - 1 :: parts] if run.arm in self.arms]
    return [run for run in mine if run.rate is not None or self.has(run)]

  def has(self, run: Run) -> bool:
    return run.arm in self.arms and str(run.seed) in self.seeds


def sweep(options: argparse.Namespace) -> int:
  """Runs the sweep, or only prints it with --table or --list; returns the exit code."""
  experiment = experiments.load(Path(os.path.expanduser(options.experiment)))
  tier = experiment.tier(options.tier)
  chosen = Chosen(
    choose('arms', options.arms, {**experiment.arms, **experiment.then}),
    choose('seeds', options.seeds, [str(seed) for seed in tier.seeds]), fraction(options.part),
  )
  choose('against', options.against, experiment.arms)
  suffix = '' if options.tier == 'cpu' else f'-{options.tier}'
  workdir = options.workdir or Path(f'runs/sweeps/{experiment.path.stem}{suffix}')
  folder = workdir.parent / (experiment.pool + suffix) if experiment.pool else workdir
  if options.cost:
    print('\n'.join(cost.table(experiment, tier, folder)))
    return 0
  record = manifest.Manifest(experiment, options.tier, tier, workdir)
  share = jobs.shares(options.jobs)
  known: list[list[Run]] = []
  for stage in runs_lib.stages(experiment, tier, folder, chosen.arms):
    known.append(stage)
    # Check that finished runs are comparable before spending hours on the others.
    table.finished(stage)
    if not options.table and not options.list:
      label = '' if stage[0].rate is None else 'rates '  # a longer one does not fit in a line
      jobs.execute_all(chosen.runs(stage), share, lambda: record.update(known), label)
  if options.list:
    return show_list(known)
  show_tables(experiment, known, chosen, options, record)
  tail = [f'--tier={options.tier}'] * bool(suffix)
  again = shlex.join([str(experiment.path), *tail, f'--workdir={workdir}'])
  print(f'next:     {PROGRAM} {again}  # runs only what is missing, such as an arm you add')
  print(f'          python -m posjax.report {shlex.quote(str(workdir))}  # a page')
  return 0 if options.table else report_failures(known, chosen.arms)


def show_tables(
  experiment: experiments.Experiment, known: Sequence[Sequence[Run]], chosen: Chosen,
  options: argparse.Namespace, record: manifest.Manifest,
) -> None:
  """Writes manifest, table and figure of the finished runs, and prints them."""
  stages = [stage for stage in known if stage[0].rate is None]
  if options.table:
    stages = [[run for run in stage if chosen.has(run)] for stage in stages]
  done = [(stage, own) for stage in stages if (own := table.finished(stage))]
  workdir = record.path.parent
  if options.table and not done:
    raise UserError(f'{workdir}: no run is done yet')
  verdicts = record.update(known)
  if done:
    texts = [table.tables(experiment.question, *each, options.against) for each in done]
    text = '\n'.join([*texts, *table.verdicts(verdicts), *table.rates(known)])
    files.replace(workdir / 'table.md', text)
    figure.draw(done[-1][1], experiment.question, workdir / 'by_length.png')
    print(f'\n{text}\ntable:    {workdir / "table.md"}\nfigure:   {workdir / "by_length.png"}')
  print(f'manifest: {record.path}')


def what(stage: Sequence[Run]) -> str:
  """Returns a word for the runs of a stage."""
  return 'learning rates' if stage[0].rate is not None else 'runs'


def show_list(known: Sequence[Sequence[Run]]) -> int:
  """Prints a line for each run: its number, status and command."""
  for stage in known:
    print(f'# {what(stage)}')
    for number, run in enumerate(stage, 1):
      print(f'{number:>4}  {run.status():<9} {run.command}')
  return 0


def report_failures(known: Sequence[Sequence[Run]], arms: Collection[str]) -> int:
  """Prints a line for each run that was tried and failed; returns the exit code."""
  runs = [run for stage in known for run in stage if run.arm in arms]
  failed = [run for run in runs if run.note() and not run.settled()]
  for run in failed:
    output = run.folder / 'output.txt'
    code = run.note()['exit_code']
    program.fail(1, f'{run}: exit code {code}: {runs_lib.last_line(output)}; see {output}')
  return 1 if failed else 0


def fraction(text: str) -> tuple[int, int]:
  """Returns (3, 8) for '3/8'. Raises UserError if that is no share."""
  part, slash, parts = text.partition('/')
  if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
    raise UserError(f'--part={text}: must be K/N with K from 1 to N, such as 3/8')
  return int(part), int(parts)


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
