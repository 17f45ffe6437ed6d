"""Tables of the results: medians, quartiles, ratios with targets; as Markdown and JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from posjax.bench import targets
from posjax.bench.subjects import STEP_MEMORY_LENGTHS, Subject, flops

GIB = 2.0**30


@dataclasses.dataclass
class Row:
  """A subject and its results: seconds per call in each round, bytes of temporaries."""

  subject: Subject
  planned: int | None = None
  error: str = ''
  cpu: list = dataclasses.field(default_factory=list)
  wall: list = dataclasses.field(default_factory=list)


class Spread(NamedTuple):
  low: float  # quartile
  median: float
  high: float

  def __str__(self) -> str:
    return f'{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]'


class Ratio(NamedTuple):
  """The ratio of two subjects over the rounds; `target` is None if no target is set."""

  subject: Subject
  over: Subject
  spread: Spread
  target: targets.Target | None

  @property
  def verdict(self) -> str | None:
    t = self.target
    return t and targets.verdict(self.spread.median, t.least, t.aim, faster=t.faster)

  @property
  def bounds(self) -> str | None:
    t = self.target
    return t and bounds(t.least, t.aim, '≥' if t.faster else '≤')


def bounds(least: float | None, aim: float | None, sign: str = '≤') -> str:
  words = [f'{sign} {least:g}'] if least is not None else []
  return ', '.join(words + ([f'aim {sign} {aim:g}'] if aim is not None else []))


def spread(values: Sequence[float]) -> Spread:
  return Spread(*np.quantile(values, (0.25, 0.5, 0.75)).tolist())


def exponent(lengths: Sequence[float], sizes: Sequence[float]) -> float:
  """Returns the exponent of sizes over lengths: the least-squares slope of their logarithms."""
  return float(np.polyfit(np.log(lengths), np.log(sizes), 1)[0])


def ratio(row: Row, base: Row, clock: str, faster: bool = False) -> Spread:
  """Returns the spread of per-round ratios; slow periods of the machine affect both subjects."""
  pairs = zip(getattr(row, clock), getattr(base, clock), strict=True)
  return spread([b / a if faster else a / b for a, b in pairs])


def ratios(rows: Sequence[Row], clock: str) -> list[Ratio]:
  """Returns all ratios of a group; each subject's ratio over its base comes first."""
  timed = [row for row in rows if getattr(row, clock)]
  found = []
  for row in timed:
    base = next((r for r in timed if key(r) == row.subject.base), None)
    wanted = targets.find(row.subject)
    first = [t for t in wanted if t.over == row.subject.base[:1]]
    if base and base is not row and row.subject.case != 'ceiling':
      found.append(made(row, base, clock, first[0] if first else None))
    for target in wanted:
      others = [r for r in timed if r.subject.name in target.over and r.subject.module == 'peers']
      if others:
        fastest = min(others, key=lambda r: np.median(getattr(r, clock)))
        found.append(made(row, fastest, clock, target))
  return found


def made(row: Row, base: Row, clock: str, target: targets.Target | None) -> Ratio:
  faster = target is not None and target.faster
  return Ratio(row.subject, base.subject, ratio(row, base, clock, faster), target)


def key(row: Row) -> tuple[str, str, str]:
  return row.subject.name, row.subject.implementation, row.subject.variant


def ceiling(rows: Sequence[Row], clock: str) -> float | None:
  """Returns the FLOP/s of the fastest product of matrices; None if none was measured."""
  rates = [
    flops(row.subject) / min(getattr(row, clock)) for row in rows
    if row.subject.case == 'ceiling' and getattr(row, clock)
  ]
  return max(rates, default=None)


def figures(rows: Sequence[Row], clock: str) -> list[dict[str, Any]]:
  """Returns a dict for each row, as written to bench.json."""
  best = ceiling(rows, clock)
  found = []
  for row in rows:
    entry = {'label': row.subject.label, **row.subject._asdict(), 'planned': row.planned}
    entry |= {'error': row.error, 'cpu': row.cpu, 'wall': row.wall}
    if times := getattr(row, clock):
      seconds = spread(times)
      entry['seconds'] = seconds._asdict()
      if row.subject.tokens:
        entry['tokens_per_second'] = row.subject.tokens / seconds.median
      if best:
        entry['flops_per_second'] = flops(row.subject) / seconds.median
        entry['utilisation'] = entry['flops_per_second'] / best
    found.append(entry)
  return found


def group(rows: Sequence[Row], clock: str) -> tuple[str, dict[str, Any]]:
  """Returns (Markdown, the entry for bench.json) of a group."""
  judged, entries = ratios(rows, clock), figures(rows, clock)
  subject = rows[0].subject
  title = f'{subject.case}, {subject.batch} x {subject.length:,} tokens, {subject.dtype}'
  unit = 'CPU second' if clock == 'cpu' else 'second'
  lines = [
    cells(entry, [r for r in judged if r.subject is row.subject], subject.base[0], unit)
    for row, entry in zip(rows, entries, strict=True)
  ]
  tables = [markdown(lines)]
  if beside := [r for r in judged if r.over.module == 'peers']:
    tables.append(markdown([
      {
        '': f'{r.subject.label} {"against" if r.target.faster else "over"} {r.over.label}',
        'ratio': str(r.spread), 'target': r.bounds, 'verdict': r.verdict,
      }
      for r in beside
    ]))
  entry = {'title': title, 'rows': entries, 'ratios': [as_json(r) for r in judged]}
  return '\n\n'.join([f'### {title}', *tables]) + '\n', entry


def cells(entry: dict[str, Any], judged: Sequence[Ratio], base: str, unit: str) -> dict[str, Any]:
  """Returns one line of a group's table, {column: text}."""
  line = {'': entry['label'], f'{unit}s': entry['error']}
  line |= dict.fromkeys((f'over {base}', 'target', 'verdict'), '')
  if 'seconds' in entry:
    low, median, high = entry['seconds'].values()
    line[f'{unit}s'] = f'{median:.3g} [{low:.3g}, {high:.3g}]'
  for r in judged:
    if r.over.module != 'peers':
      line |= {f'over {base}': str(r.spread), 'target': r.bounds, 'verdict': r.verdict}
  for name, column, shown in (
    ('planned', 'MB planned', lambda x: f'{x / 1e6:,.0f}'),
    ('tokens_per_second', f'tokens/{unit}', '{:,.0f}'.format),
    ('flops_per_second', 'GFLOP/s', lambda x: f'{x / 1e9:.3g}'),
    ('utilisation', 'of the ceiling', '{:.2f}'.format),
  ):
    line[column] = shown(entry[name]) if entry.get(name) else ''
  return line


def as_json(r: Ratio) -> dict[str, Any]:
  return {
    'subject': r.subject.label, 'over': r.over.label, **r.spread._asdict(),
    'least': r.target and r.target.least, 'aim': r.target and r.target.aim,
    'faster': bool(r.target and r.target.faster), 'verdict': r.verdict,
  }


def memory(rows: Sequence[Row], _clock: str) -> tuple[str, dict[str, Any]]:
  """The same as `group` for memory plans: sizes by length, exponents and the step ratio."""
  lines, entries = [], []
  for name in dict.fromkeys(key(row)[:2] for row in rows):
    own = [row for row in rows if key(row)[:2] == name]
    plans = {
      case: {r.subject.length: r.planned for r in own if r.subject.variant == case and r.planned}
      for case in ('layer', 'step')
    }
    label = own[0].subject._replace(variant='').label
    judged = judged_plans(plans) | {'error': '; '.join({row.error for row in own if row.error})}
    sizes = {f'{length:,}': f'{size / 1e6:,.0f}' for length, size in plans['layer'].items()}
    lines.append({'': label} | sizes | judged)
    entries.append({'label': label, 'planned': plans} | judged)
  title = f'memory planned by XLA, MB of a layer by length, {rows[0].subject.dtype}'
  return f'### {title}\n\n{markdown(lines)}\n', {'title': title, 'rows': entries}


def judged_plans(plans: dict[str, dict[int, int]]) -> dict[str, str]:
  """Returns cells: the exponent of a layer's memory and the ratio of two steps, with targets."""
  cells, layer, step = {}, plans['layer'], plans['step']
  if len(layer) > 1:
    found = exponent([*layer], [*layer.values()])
    least, aim = targets.EXPONENT
    fits = layer.get(16_384, 0) <= targets.LAYER_GIB * GIB
    cells = {
      'exponent': f'{found:.2f}', 'target': f'{bounds(least, aim)} and {targets.LAYER_GIB} GiB',
      'verdict': targets.verdict(found, least, aim if fits else None),
    }
  if {*STEP_MEMORY_LENGTHS} == {*step}:
    short, long = (step[length] for length in STEP_MEMORY_LENGTHS)
    cells |= {
      'step MB': f'{short / 1e6:,.0f}, {long / 1e6:,.0f}', 'step ratio': f'{long / short:.2f}',
      'step target': bounds(*targets.STEP_MEMORY),
      'step verdict': targets.verdict(long / short, *targets.STEP_MEMORY),
    }
  return cells


def markdown(rows: Sequence[dict[str, Any]]) -> str:
  """Returns a Markdown table of dicts, without columns that are empty in every row."""
  columns = dict.fromkeys(column for row in rows for column in row)
  columns = [column for column in columns if any(row.get(column) for row in rows) or not column]
  lines = [columns, ['---'] * len(columns)]
  lines += [[row.get(column) or '' for column in columns] for row in rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
