"""The contents of a page: for each sweep its verdicts or rankings, measures, tuning and costs."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from posjax.report import claims, figures, protocol, tables
from posjax.report.figures import Drawing, Look
from posjax.report.numbers import Numbers, panels
from posjax.report.read import Sweep
from posjax.report.tables import Table


class Measure(NamedTuple):
  """A test and metric: the table by length, and figures."""

  table: Table
  drawings: Sequence[Drawing]


class Section(NamedTuple):
  """What a page says about a sweep.

  Attributes:
    sweep: the sweep.
    best: [(where, the arms that are best there)], for a sweep without claims.
    first: tables that come first: the claims, or the rankings.
    measures: the measure of the claims first.
    setup: tables of learning rates, costs and settings.
    age: whether the criterion is older than the results.
    missing: the runs that are not finished.
    commands: what repeats the experiment, and then the command of each run.
  """

  sweep: Sweep
  best: Sequence[tuple[str, str]]
  first: Sequence[Table]
  measures: Sequence[Measure]
  setup: Sequence[Table]
  age: str
  missing: str
  commands: Sequence[str]

  @property
  def tables(self) -> list[Table]:
    return [*self.first, *(measure.table for measure in self.measures), *self.setup]


def sections(sweeps: Sequence[Sweep], folder: Path) -> list[Section]:
  """Returns a section for each sweep; writes its figures into a folder."""
  look = figures.looks(arm for sweep in sweeps for arm in sweep.arms)
  return [section(sweep, look, folder) for sweep in sweeps]


def section(sweep: Sweep, look: Mapping[str, Look], folder: Path) -> Section:
  every = [Numbers(sweep, *panel) for panel in panels(sweep)] if sweep.done else []
  has_claims = bool(sweep.manifest['claims'])
  first, best = [claims.claims(sweep)] if has_claims else [], []
  if every and not has_claims:
    ends = dict.fromkeys((every[0].lengths[0], every[0].lengths[-1]))
    first = [table for n in ends if (table := tables.ranking(every[0], n)).rows]
    best = [(f'best at {n:,}', leaders(every[0], n)) for n in ends]
  setup = [protocol.rates(sweep)] if sweep.manifest['rates'] else []
  if sweep.done:
    setup += [protocol.costs(sweep), *(t for t in [protocol.settings(sweep)] if t.data)]
  if every:
    said = protocol.protocol(sweep, every[0].test)
    first = [table._replace(legend=[*table.legend, said]) for table in first]
  measures = [measure(numbers, look, folder, not i) for i, numbers in enumerate(every)]
  return Section(
    sweep, best, first, measures, setup, age(sweep), missing(sweep), [*commands(sweep)]
  )


def leaders(numbers: Numbers, length: int) -> str:
  """Returns the arms of the first group of a ranking, with the value of the best."""
  groups = numbers.ranking(length)
  if not groups:
    return 'too few seeds for a ranking'
  best, *others = (tables.name(numbers, arm) for arm in groups[0])
  tie = f'; inside the noise of it: {", ".join(others)}' if others else ''
  value = tables.number(numbers.mean(groups[0][0], length))
  return f'{best}, {value} {numbers.metric}{tie}'


def measure(numbers: Numbers, look: Mapping[str, Look], folder: Path, is_first: bool) -> Measure:
  """Returns a table and its figures, by position for the first measure only."""
  table = tables.lengths(numbers)
  table = table._replace(legend=[*table.legend, protocol.protocol(numbers.sweep, numbers.test)])
  drawings = [figures.by_length(numbers, look, folder / f'{table.name}.svg')]
  if is_first and figures.has_positions(numbers):
    drawings.append(figures.by_position(numbers, look, folder / f'{table.name}-positions.svg'))
  return Measure(table, drawings)


def age(sweep: Sweep) -> str:
  """Returns a sentence: whether the file's version in use is older than the results."""
  *before, now = sweep.manifest['files']
  told = lambda version: f'SHA-256 {version["sha256"][:12]}: {version["done"]} runs were done'
  history = f' Earlier versions: {"; ".join(map(told, before))}.' if before else ''
  name = f'{sweep.manifest["experiment"]} (SHA-256 {now["sha256"][:12]})'
  what = 'criterion' if sweep.manifest['claims'] else 'experiment'
  if not now['done']:
    return f'The {what} is older than the results: no run was done when {name} was first read.' \
      + history
  return (
    f'The {what} is NOT older than the results: {now["done"]} runs were done when {name} was '
    f'first read; runs that experiments share count.{history}'
  )


def missing(sweep: Sweep) -> str:
  """Returns a sentence with the runs that are not finished; '' if all are."""
  runs = sweep.manifest['runs']
  left = [
    f'{entry["arm"]}, seed {entry["seed"]}: {entry["status"]}'
    for entry in runs if entry['status'] != 'done'
  ]
  more = f'; and {len(left) - 10} more' if len(left) > 10 else ''
  return f'{len(runs) - len(left)} of {len(runs)} known runs are done. Not done: ' \
    f'{"; ".join(left[:10])}{more}.' if left else ''


def commands(sweep: Sweep) -> Iterator[str]:
  tier = sweep.manifest['tier']
  yield shlex.join([
    'python', '-m', 'posjax.sweep', sweep.manifest['experiment'],
    *([] if tier == 'cpu' else [f'--tier={tier}']),
  ])
  yield from (entry['command'] for entry in sweep.manifest['runs'])
