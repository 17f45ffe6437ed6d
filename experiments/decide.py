"""Which encoding to use: one table and one figure of four experiments with equal tuning.

  for name in extrapolation flip_flop copying retrieval
  do python -m posjax.sweep experiments/$name.py; done
  python experiments/decide.py

Each value is a mean over three seeds at the best of three learning rates. An encoding that has not
learned a task within the trained length (0.95) has no value beyond it. Values that the best of a
column does not beat by more than the noise are bold: the 95 % interval of the difference, paired by
seed (Student's t), includes 0. `cost` is the CPU time of a run of experiments/extrapolation.py
relative to that of nope. The figure shows which encodings are on the Pareto front: no other is
better in both respects.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import scipy.stats

from posjax.plotting import spread_labels
from posjax.sweep import runs
from posjax.sweep.table import by_length

NAMES = (
  'nope', 'sinusoidal', 'rope', 'xpos', 'randomize', 'transformer_xl', 'alibi', 't5', 'kerple',
  'fire', 'dape', 'cope', 'fox', 'stick_breaking', 'path', 'rnope_swa',
)
SEEDS = (10, 11, 12)
LEARNED = 0.95


class Column(NamedTuple):
  """A column of the table; `learned` is the (test, metric, length) that must reach 0.95."""

  head: str
  folder: str
  test: str
  metric: str
  length: int
  best: int  # 1: more is better; -1: less
  learned: tuple[str, str, int] | None = None


COLUMNS = (
  Column('text, 64: bits/byte', 'text64', 'non-overlapping', 'bits/byte', 64, -1),
  Column('text, 512', 'text64', 'non-overlapping', 'bits/byte', 512, -1),
  Column('flip-flop, 256: reads', 'flip_flop', 'as trained', 'reads right', 256, 1,
         ('as trained', 'reads right', 64)),
  Column('the same, sparse', 'flip_flop', 'sparse', 'reads right', 256, 1,
         ('as trained', 'reads right', 64)),
  Column('copy, 41: tokens', 'copying', 'copy', 'token accuracy', 84, 1,
         ('copy', 'token accuracy', 42)),
  Column('retrieval, 256, far', 'retrieval', 'far', 'token accuracy', 256, 1,
         ('mqar', 'token accuracy', 32)),
)


def values(column: Column, root: Path, name: str) -> list[float] | None:
  """Returns the value of each seed; None if the task was not learned."""
  results = [runs.read(root / f'{column.folder}/{name}-{seed}/evaluation.json') for seed in SEEDS]
  of = lambda result, test, metric, n: by_length(result, test, metric)[n]['value']
  if column.learned and statistics.mean(of(r, *column.learned) for r in results) < LEARNED:
    return None
  return [of(result, column.test, column.metric, column.length) for result in results]


def cost(root: Path, name: str) -> float:
  notes = [runs.read(root / f'text64/{name}-{seed}/sweep.json') for seed in SEEDS]
  return statistics.mean(note['cpu_seconds'] for note in notes)


def within_noise(a: Sequence[float], b: Sequence[float]) -> bool:
  """Returns whether the 95 % interval of the mean paired difference includes 0."""
  differences = [x - y for x, y in zip(a, b, strict=True)]
  half = scipy.stats.t.ppf(0.975, len(a) - 1) * statistics.stdev(differences) / math.sqrt(len(a))
  return abs(statistics.mean(differences)) <= half


def table(found: dict[str, list[list[float] | None]], costs: dict[str, float]) -> list[str]:
  """Returns lines of Markdown: a row for each encoding."""
  heads = [column.head for column in COLUMNS]
  lines = [f'| encoding | {" | ".join(heads)} | cost |', '| --- ' * (len(heads) + 2) + '|']
  best = [
    max((own[i] for own in found.values() if own[i]), key=lambda v: c.best * statistics.mean(v))
    for i, c in enumerate(COLUMNS)
  ]
  for name, own in found.items():
    cells = []
    for seeds, top in zip(own, best, strict=True):
      text = 'not learned' if seeds is None else f'{statistics.mean(seeds):.2f}'
      cells.append(f'**{text}**' if seeds and within_noise(seeds, top) else text)
    lines.append(f'| {name} | {" | ".join(cells)} | {costs[name]:.2f} |')
  return lines


def draw(found: dict[str, list[list[float] | None]], costs: dict[str, float], path: Path) -> None:
  """Draws the loss at 512 bytes against that at 64, and against the cost."""
  from matplotlib.figure import Figure  # slow to import

  near, far = ({name: statistics.mean(own[i]) for name, own in found.items()} for i in (0, 1))
  figure = Figure(figsize=(12, 5.5), layout='constrained')
  panels = zip(figure.subplots(1, 2), (near, costs), (
    'bits per byte at 64 bytes, the trained length', 'CPU time relative to nope',
  ), strict=True)
  for axes, across, words in panels:
    front = [n for n in found if not any(
      across[m] < across[n] and far[m] <= far[n] or across[m] <= across[n] and far[m] < far[n]
      for m in found
    )]
    for name in found:
      axes.plot(across[name], far[name], 'o', color='C0' if name in front else 'grey')
    steps = sorted((across[name], far[name]) for name in front)
    axes.plot(*zip(*steps, strict=True), color='C0', alpha=0.4, drawstyle='steps-post')
    label(axes, across, far)
    axes.set_xlabel(words)
    axes.set_ylabel('bits per byte at 512 bytes')
    axes.grid(alpha=0.3)
  figure.savefig(path, dpi=120)


def label(axes, across: dict[str, float], far: dict[str, float]) -> None:
  """Writes the names to the right of the axes, with a line to each point."""
  axes.figure.draw_without_rendering()  # sets the limits
  place = axes.transData + axes.transAxes.inverted()
  names = sorted(far, key=far.get)
  heights = spread_labels([place.transform((0, far[name]))[1] for name in names], 1 / 18)
  for name, height in zip(names, heights, strict=True):
    axes.annotate(
      name, (across[name], far[name]), xytext=(1.03, height), textcoords='axes fraction',
      va='center', fontsize='small', annotation_clip=False,
      arrowprops=dict(arrowstyle='-', linewidth=0.4, alpha=0.5, relpos=(0, 0.5)),
    )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--root', type=Path, default=Path('runs/sweeps'), help='folder of the sweeps')
  parser.add_argument('--figure', type=Path, default=Path('docs/pareto.png'))
  options = parser.parse_args()
  found = {name: [values(column, options.root, name) for column in COLUMNS] for name in NAMES}
  costs = {name: cost(options.root, name) / cost(options.root, 'nope') for name in NAMES}
  print('\n'.join(table(found, costs)))
  draw(found, costs, options.figure)
  print(f'figure: {options.figure}')


if __name__ == '__main__':
  main()
