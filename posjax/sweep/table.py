"""Results of finished runs: checks that they can be compared, and their table."""

import html
import math
import re
import statistics
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from posjax import config as config_lib
from posjax.config import identity
from posjax.errors import UserError

if TYPE_CHECKING:
  from posjax.sweep.runs import Run
  from posjax.sweep.verdict import Verdict


def select(nested: ConfigDict | dict[str, Any], names: Collection[str]) -> dict[str, Any]:
  """Returns the flat keys and values of a config or a result whose key or section is in `names`."""
  flat = config_lib.flatten(nested)
  return {k: flat[k] for k in flat if k in names or k.partition('.')[0] in names}


def check_alike(described: Sequence[tuple['Run', dict[str, Any]]]) -> None:
  """Raises UserError unless the flat dicts of all [(run, dict)] are equal."""
  for run, values in described:
    first, expected = described[0]
    if found := config_lib.changes(config_lib.difference(expected, values)):
      raise UserError(f'cannot compare {first} with {run}: {found}')


def finished(runs: Iterable['Run']) -> list[tuple['Run', dict[str, Any]]]:
  """Returns [(run, result)] of the finished runs.

  Raises:
    UserError: the config of an arm has changed since its result, or two results are not comparable.
  """
  done = [(run, result) for run in runs if (result := run.result())]
  for run, result in done:
    old, new = result['config'], run.config
    differ = identity.difference(old, new)
    others = ('evaluate', 'task', 'ngram')  # no part of the identity of a trained model
    differ |= config_lib.difference(*(select(config, others) for config in (old, new)))
    if found := config_lib.changes(differ):
      raise UserError(
        f'{run.folder}: arm {run.arm} ran with another config, {found}; delete that folder, or '
        'choose another --workdir'
      )
  shared = ('corpus', 'sha256', 'tests')
  check_alike([(run, select(result, shared)) for run, result in done])
  return done


def escape(text: str) -> str:
  """Returns a text as one line, escaped for Markdown and HTML."""
  line = ''.join(c if c.isprintable() else ' ' for c in text)
  # An underscore within a word, as in transformer_xl, is literal.
  special = r'[\\`*#|$~[\]]|(?<![^\W_])_|_(?![^\W_])'
  return re.sub(special, r'\\\g<0>', html.escape(line, quote=False))


def tables(
  claim: str, runs: Sequence['Run'], done: Sequence[tuple['Run', dict[str, Any]]],
  against: str | None = None,
) -> str:
  """Returns Markdown: a summary, and a table per test and metric; `done` is from `finished`.

  With `against`, a second table has the differences of the other arms to that arm.
  """
  _, first = done[0]
  seeds = ', '.join(str(seed) for seed in dict.fromkeys(run.seed for run in runs))
  steps = ' or '.join(f'{step:,}' for step in sorted({result['step'] for _, result in done}))
  codes = ', '.join(sorted({result['code'] for _, result in done}))
  lines = [
    f'# {escape(claim)}', '',
    f'{steps} steps; seeds {seeds}; {escape(first["corpus"])}; posjax {codes}',
  ]
  if missing := [str(run) for run in runs if not run.result()]:
    lines += ['', f'Not finished: {escape("; ".join(missing))}']
  for test, metric in shown(first):
    title = first['tests'][test]
    lines += ['', f'{metric} by length in {first["unit"]}s, mean and 95 % interval; {title}', '']
    lines += table(done, test, metric)
    if against in {run.arm for run in runs}:
      lines += ['', f'{metric} minus that of {escape(against)}, paired by seed', '']
      lines += differences(done, test, metric, against)
  return '\n'.join(lines) + '\n'


def tried(known: Sequence[Sequence['Run']]) -> dict[str, Any]:
  """Returns {arm: {'tried': {rate: validation loss}, 'chosen': rate or None}}."""
  found: dict[str, Any] = {}
  for run in (run for stage in known for run in stage if run.rate is not None):
    loss = run.validation() if run.settled() else None
    # JSON has no infinity.
    found.setdefault(run.arm, {})[f'{run.rate:g}'] = 'diverged' if loss == math.inf else loss
  told = {}
  for arm, losses in found.items():
    numbers = {rate: loss for rate, loss in losses.items() if isinstance(loss, float)}
    settled = numbers and None not in losses.values()
    told[arm] = {'tried': losses, 'chosen': min(numbers, key=numbers.get) if settled else None}
  return told


def rates(known: Sequence[Sequence['Run']]) -> list[str]:
  """Returns lines of Markdown: the validation loss of each arm at each learning rate it tried."""
  found = tried(known)
  if not found:
    return []
  columns = [*dict.fromkeys(rate for own in found.values() for rate in own['tried'])]
  lines = [
    '', 'Validation loss by learning rate, with one seed that is in no other table; the best rate '
    'is used above', '',
    f'| arm | {" | ".join(columns)} |', '| --- ' * (len(columns) + 1) + '|',
  ]
  for arm, own in found.items():
    cells = []
    for rate in columns:
      loss = own['tried'].get(rate)
      text = '' if loss is None else loss if isinstance(loss, str) else f'{loss:.3f}'
      cells.append(f'**{text}**' if rate == own['chosen'] else text)
    lines.append(f'| {escape(arm)} | {" | ".join(cells)} |')
  return [*lines, '']


def verdicts(judged: Sequence['Verdict']) -> list[str]:
  """Returns lines of Markdown: each claim with its criterion, its value and the verdict."""
  if not judged:
    return []
  lines = [
    '', 'Claims, with 95 % intervals; p is corrected for the number of claims', '',
    '| claim | criterion | value | p | verdict |', '| --- | --- | --- | --- | --- |',
  ]
  for each in judged:
    value = '' if each.value is None else f'{each.value:.3g}'
    if each.low is not None and each.low != each.high:
      value += f' [{each.low:.3g}, {each.high:.3g}]'
    p = '' if each.p_holm is None else f'{each.p_holm:.2g}'
    verdict = each.outcome + f': {each.reason}' * bool(each.reason)
    lines.append(
      f'| {escape(each.claim)} | {each.criterion} | {value} | {p} | {escape(verdict)} |'
    )
  return [*lines, '']


def shown(result: dict[str, Any]) -> list[tuple[str, str]]:
  """Returns the shown metrics of each test; all metrics of a test that has none of these."""
  pairs = []
  for test in result['tests']:
    own = [*dict.fromkeys(r['metric'] for r in result['records'] if r['test'] == test)]
    pairs += [(test, m) for m in [metric for metric in own if metric in result['shown']] or own]
  return pairs


def table(done: Sequence[tuple['Run', dict[str, Any]]], test: str, metric: str) -> list[str]:
  """Returns lines of Markdown: a row for each arm and for a guess, a column for each length."""
  rows = [(run.arm, by_length(result, test, metric)) for run, result in done]
  _, first = rows[0]
  lines = [f'| arm | weights | {" | ".join(map(str, first))} |', '| --- ' * (len(first) + 2) + '|']
  for arm in dict.fromkeys(run.arm for run, _ in done):
    results = [result for run, result in done if run.arm == arm]
    columns = zip(*(row.values() for name, row in rows if name == arm), strict=True)
    cells = (cell([each['value'] for each in own], results[0]['limit']) for own in columns)
    lines.append(f'| {escape(arm)} | {results[0]["weights"]:,} | {" | ".join(cells)} |')
  if all(record['floor'] is not None for record in first.values()):
    cells = (f'{record["floor"]:.2f}' for record in first.values())
    lines.append(f'| (a guess) | | {" | ".join(cells)} |')
  return lines


def differences(
  done: Sequence[tuple['Run', dict[str, Any]]], test: str, metric: str, against: str
) -> list[str]:
  """Returns lines of Markdown: for each other arm, mean and interval of its paired difference.

  Only seeds of which both runs are done, and lengths within the limits of both, count.
  """
  values = {
    (run.arm, run.seed): {n: r['value'] for n, r in by_length(result, test, metric).items()}
    for run, result in done
  }
  lengths = [*next(iter(values.values()))]
  lines = [f'| arm | {" | ".join(map(str, lengths))} |', '| --- ' * (len(lengths) + 1) + '|']
  for arm in dict.fromkeys(arm for arm, _ in values if arm != against):
    pairs = [
      (own, values[against, seed]) for (name, seed), own in values.items()
      if name == arm and (against, seed) in values
    ]
    cells = []
    for n in lengths:
      both = [(own[n], base[n]) for own, base in pairs]
      cells.append(cell([None if None in pair else pair[0] - pair[1] for pair in both], None))
    lines.append(f'| {escape(arm)} | {" | ".join(cells)} |')
  return lines


def by_length(result: dict[str, Any], test: str, metric: str) -> dict[int, dict[str, Any]]:
  """Returns {length: record} of one test and metric."""
  return {
    record['length']: record for record in result['records']
    if (record['test'], record['metric']) == (test, metric)
  }


def cell(values: Sequence[float | None], limit: int | None) -> str:
  """Returns the mean and half the 95 % interval by Student's t; for one seed, its value."""
  if None in values or not values:
    return f'beyond {limit}' if limit else ''
  if len(values) == 1:
    return f'{values[0]:.2f}'
  import scipy.stats  # slow to import

  quantile = scipy.stats.t.ppf(0.975, len(values) - 1)
  half = quantile * statistics.stdev(values) / math.sqrt(len(values))
  return f'{statistics.mean(values):.2f} ± {half:.2f}'
