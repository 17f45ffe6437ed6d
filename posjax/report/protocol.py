"""How the numbers of a sweep were made: its protocol, tuning, costs and settings."""

import datetime
import statistics
from collections.abc import Iterable
from typing import Any

from posjax import config as config_lib
from posjax.errors import show
from posjax.report import read
from posjax.report.read import Sweep
from posjax.report.tables import Cell, Table, number

EDGE = '\N{WARNING SIGN}'


def protocol(sweep: Sweep, test: str) -> str:
  """Returns how the numbers of a test were made."""
  m, (_, result) = sweep.manifest, sweep.done[0]
  each = lambda key: listed(own[key] for _, own in sweep.done)
  train = lambda key: listed(own['config']['train'][key] for _, own in sweep.done)
  tokens = listed(
    own['step'] * own['config']['train']['batch'] * own['config']['train']['length']
    for _, own in sweep.done
  )
  seeds = ', '.join(map(str, sorted({run.seed for run, _ in sweep.done})))
  days = sorted({
    datetime.datetime.fromtimestamp((own.folder / 'evaluation.json').stat().st_mtime, datetime.UTC)
    .date().isoformat() for own, _ in sweep.done
  })
  budgets = {len(own['tried']) for own in m['rates'].values()}
  budget = (
    f'learning rates tried per arm: {listed(budgets)}, with seed {m["tuning_seed"]}; the best on '
    'validation is used' if budgets else 'none'
  )
  tested = ', '.join(f'{n:,}' for n in sorted({
    record['length'] for _, own in sweep.done for record in own['records']
    if record['test'] == test
  }))
  return (
    f'Protocol: trained at {train("length")} {result["unit"]}s for {each("step")} steps of '
    f'{train("batch")} rows ({tokens} {result["unit"]}s); tested at {tested}. Test: '
    f'{result["tests"][test]}. Seeds {seeds}. Tuning: {budget}. Text: {each("corpus")}. Devices: '
    f'{each("devices")}. posjax {each("code")}, jax {listed(m["jax"])}. Results of '
    f'{" to ".join(dict.fromkeys((days[0], days[-1])))}.'
  )


def listed(values: Iterable[Any]) -> str:
  """Returns the different values, sorted, as in '100 or 1,000'."""
  return ' or '.join(f'{v:,}' if isinstance(v, int) else v for v in sorted({*values}))


def rates(sweep: Sweep) -> Table:
  """Returns the validation loss of each arm by learning rate."""
  found, rows, data = sweep.manifest['rates'], [], []
  columns = sorted({rate for own in found.values() for rate in own['tried']}, key=float)
  for arm, own in found.items():
    grid = sorted(own['tried'], key=float)
    edge = len(grid) > 1 and own['chosen'] in (grid[0], grid[-1])
    cells = []
    for rate in columns:
      loss = own['tried'].get(rate)
      text = number(loss) if isinstance(loss, float) else loss or ''
      cells.append(Cell(text, style='best' if rate == own['chosen'] else ''))
      data.append({'arm': arm, 'rate': rate, 'loss': loss, 'chosen': rate == own['chosen']})
    rows.append([Cell(arm, f'{EDGE} at the edge' if edge else ''), *cells])
  said = [
    f'Seed {sweep.manifest["tuning_seed"]}, which is in no other table; bold: chosen.',
    f'{EDGE} The chosen rate is the first or last of those tried: a better one may lie beyond.',
  ]
  edges = any(row[0].note for row in rows)
  return Table(f'{sweep.name}-rates', 'Validation loss by learning rate', ['arm', *columns], rows,
               said[: 1 + edges], data)


def costs(sweep: Sweep) -> Table:
  """Returns the time and the memory of each arm."""
  rows, data = [], []
  for arm in sweep.arms:
    notes = [run.note() for run, _ in sweep.of_arm(arm)]
    found = (read.seconds_per_step(run) for run, _ in sweep.of_arm(arm))
    steps = [seconds for seconds in found if seconds is not None]
    cpu = statistics.mean(note['cpu_seconds'] for note in notes)
    peak = max(note['peak_mebibytes'] for note in notes)
    device = listed(result['devices'] for _, result in sweep.of_arm(arm))
    step = statistics.mean(steps) if steps else None
    between = f'{min(steps) * 1e3:.3g} to {max(steps) * 1e3:.3g}' if len(steps) > 1 else ''
    weights = sweep.of_arm(arm)[0][1]['weights']
    rows.append([
      Cell(arm), Cell(f'{weights:,}'), Cell(f'{step * 1e3:.3g}' if step else '', between),
      Cell(f'{cpu:,.0f}'), Cell(f'{peak:,}'), Cell(device),
    ])
    data.append({'arm': arm, 'weights': weights, 'seconds_per_step': step, 'cpu_seconds': cpu,
                 'peak_mebibytes': peak, 'device': device})
  head = 'arm', 'weights', 'ms per step', 'CPU s per run', 'peak MiB', 'device'
  said = (
    'Mean over seeds, and the range of the time per step, which excludes the first logged steps '
    'and evaluations. Runs that shared a machine slowed each other: compare with docs/costs.md.'
  )
  return Table(f'{sweep.name}-costs', 'Time and memory', head, rows, [said], data)


def settings(sweep: Sweep) -> Table:
  """Returns the keys of the configs that differ between arms."""
  flat = {
    arm: {
      key: value for key, value in
      config_lib.flatten(sweep.of_arm(arm)[0][1]['config']).items() if key != 'seed'
    } for arm in sweep.arms
  }
  keys = [*dict.fromkeys(key for own in flat.values() for key in own)]
  differ = [key for key in keys if len({repr(own.get(key)) for own in flat.values()}) > 1]
  data = [
    {'arm': arm, 'key': key, 'value': show(own[key])}
    for arm, own in flat.items() for key in differ if key in own
  ]
  told = {
    arm: ', '.join(f'{row["key"]}={row["value"]}' for row in data if row['arm'] == arm)
    for arm in sweep.arms
  }
  rows = [[Cell(arm), Cell(text)] for arm, text in told.items()]
  return Table(f'{sweep.name}-settings', 'What differs between the arms', ('arm', 'settings'), rows,
               data=data)
