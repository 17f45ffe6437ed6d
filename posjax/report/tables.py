"""Tables, independent of their format, and those of the measures by length."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from posjax.report.numbers import Interval, Numbers, falls, of_seeds
from posjax.sweep.verdict import FEWEST, Verdict

NOISE, NOT_LEARNED = '\N{ALMOST EQUAL TO}', '\N{DAGGER}'


class Cell(NamedTuple):
  """One cell: its text, a second line in small print, and a style: best, noise or an outcome."""

  text: str
  note: str = ''
  style: str = ''


class Table(NamedTuple):
  """A table.

  Attributes:
    name: of its files.
    title: above it.
    head: the columns' names.
    rows: `Cell`s, as many in each row as columns.
    legend: below it: what its marks mean, and the protocol.
    data: its numbers in full precision, for a CSV file.
  """

  name: str
  title: str
  head: Sequence[str]
  rows: Sequence[Sequence[Cell]]
  legend: Sequence[str] = ()
  data: Sequence[dict[str, Any]] = ()


def number(value: float | None, sign: str = '') -> str:
  """Returns a number with three decimals, or in scientific notation if that would show 0."""
  if value is None:
    return ''
  return f'{value:{sign}.1e}' if 0 < abs(value) < 0.0005 else f'{value:{sign}.3f}'


def span(found: Interval | Verdict) -> str:
  """Returns '[low, high]'; '' if there is no interval, or one without width."""
  if found.low is None or found.low == found.high:
    return ''
  return f'[{number(found.low)}, {number(found.high)}]'


def duration(seconds: float) -> str:
  """Returns '30 s', '5 min' or '2.5 h'; '' for none."""
  if not seconds:
    return ''
  minutes = seconds / 60
  if minutes < 1:
    return f'{seconds:.0f} s'
  return f'{minutes:.0f} min' if minutes < 100 else f'{minutes / 60:.1f} h'


def name(numbers: Numbers, arm: str) -> str:
  """Returns an arm's name, with a mark if it has not learned the task."""
  return arm if arm in numbers.learned else f'{arm} {NOT_LEARNED}'


def lengths(numbers: Numbers) -> Table:
  """Returns the mean of each arm by length, with the difference to the best arm of the column."""
  sweep = numbers.sweep
  best = {n: next(iter(numbers.within(n)), '') for n in numbers.lengths}
  rows, data = [], []
  for arm in sweep.arms:
    cells = [Cell(name(numbers, arm))]
    for n in numbers.lengths:
      found = of_seeds(values) if (values := numbers.values(arm, n)) else None
      gap = numbers.difference(arm, best[n], n) if found and arm != best[n] else None
      cell = value_cell(found, gap, arm == best[n], numbers.limits[arm])
      if found and not falls(numbers.metric) and n != numbers.trained(arm):
        within = number(numbers.mean(arm, numbers.trained(arm)))
        cell = cell._replace(text=f'{cell.text} ({within})')
      cells.append(cell)
      data.append({
        'test': numbers.test, 'metric': numbers.metric, 'arm': arm, 'length': n,
        'trained': n == numbers.trained(arm), 'seeds': len(values),
        **dict(zip(('mean', 'low', 'high'), found or (None,) * 3, strict=True)),
        'best': best[n],
        **dict(zip(('minus_best', 'minus_best_low', 'minus_best_high'), gap or (None,) * 3,
                   strict=True)),
        'guess': numbers.floors[n], 'values': ' '.join(map(repr, values)),
      })
    rows.append(cells)
  if any(floor is not None for floor in numbers.floors.values()):
    rows.append([Cell('(a guess)'), *(Cell(number(floor)) for floor in numbers.floors.values())])
  trained = {numbers.trained(arm) for arm in sweep.arms}
  head = ['arm', *(f'{n:,}{" (trained)" * (n in trained)}' for n in numbers.lengths)]
  title = f'{numbers.metric} by length in {sweep.done[0][1]["unit"]}s; {numbers.test}'
  file = re.sub(r'[^\w.-]', '_', f'{sweep.name}-{numbers.test}-{numbers.metric}')
  return Table(file, title, head, rows, [*legend(numbers)], data)


def value_cell(found: Interval | None, gap: Interval | None, best: bool, limit: int | None) -> Cell:
  """Returns the cell of an arm at a length."""
  if not found:
    return Cell(f'beyond {limit}' if limit else '')
  half = '' if found.low is None else f' ± {number(found.mean - found.low)}'
  note = f'{number(gap.mean, "+")} {span(gap)}' if gap else ''
  if gap and gap.noise:
    return Cell(f'{number(found.mean)}{half}', f'{NOISE} {note}', 'noise')
  return Cell(f'{number(found.mean)}{half}', note, 'best' if best else '')


def legend(numbers: Numbers) -> Iterator[str]:
  """Yields the lines that explain a table by length."""
  if all(len(numbers.sweep.of_arm(arm)) < FEWEST for arm in numbers.sweep.arms):
    yield f'Fewer than {FEWEST} seeds are done: no difference is judged.'
  else:
    yield (
      "Mean ± half its 95 % interval (Student's t over seeds); bold: the best of the column. Below "
      'it: the difference to the best, paired by seed and block of the test, with its 95 % '
      f'interval, not corrected for the number of arms. Grey and {NOISE}: the interval includes 0, '
      'so the difference is inside the noise.'
    )
  if not falls(numbers.metric) and len(numbers.lengths) > 1:
    yield 'In brackets: the value of the arm at the trained length.'
  if {*numbers.learned} != {*numbers.sweep.arms}:
    threshold = numbers.sweep.manifest['threshold']
    yield (
      f'{NOT_LEARNED} Below {threshold:g} at the trained length: this arm has not learned the '
      'task, and its other columns mean nothing.'
    )


def ranking(numbers: Numbers, length: int) -> Table:
  """Returns groups of arms that cannot be told apart; beyond the trained length, with both."""
  trained = numbers.lengths[0]
  rows: list[list[Cell]] = []
  data: list[dict[str, Any]] = []
  for rank, group in enumerate(numbers.ranking(length), 1):
    for arm in group:
      at = numbers.mean(arm, length), numbers.mean(arm, numbers.trained(arm))
      place = str(rank) if arm == group[0] else ''
      rows.append([Cell(place), Cell(name(numbers, arm)), Cell(number(at[0])),
                   *[Cell(number(at[1]))] * (length != trained)])
      data.append({'group': rank, 'arm': arm, 'length': length, 'mean': at[0], 'trained': at[1]})
  head = ['group', 'arm', f'at {length:,}', *['within'] * (length != trained)]
  where = 'the trained length' if length == trained else 'the longest length'
  title = f'{numbers.metric} at {where}, {length:,}'
  said = 'Arms of one group differ from its first arm by less than the noise.'
  said += ' Within: at the trained length.' * (length != trained)
  return Table(f'{numbers.sweep.name}-ranking-{length}', title, head, rows, [said], data)
