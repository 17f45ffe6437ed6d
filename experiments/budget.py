"""Training budget: does an encoding that extrapolates keep doing so when it is trained longer?

Ten encodings, four budgets of up to 2,000 steps, three seeds, the text and the model of
experiments/extrapolation.py, whose runs are those of 1,000 steps. Lin et al. 2025 (FoX), arXiv
2503.02130, report that more training tokens make extrapolation worse. Learning rates are those that
experiments/extrapolation.py chose at 1,000 steps, for all budgets; the warm-up is a tenth.

  python -m posjax.sweep experiments/extrapolation.py
  python -m posjax.sweep experiments/budget.py
  python experiments/budget.py

The last command prints the loss at eight times the trained length by budget, and which curves
cross. Decided before the runs: the loss rises if the 95 % interval (Student's t, paired by seed) of
the difference between 2,000 and 250 steps is above 0. Two encodings cross if the intervals of their
difference exclude 0 at both ends, on opposite sides.
"""

import argparse
import itertools
import math
from pathlib import Path

import numpy as np
import scipy.stats

from posjax.plotting import spread_labels
from posjax.sweep import runs
from posjax.sweep.table import by_length

RATES_CHOSEN = {'nope': 3e-3}  # by experiments/extrapolation.py; 1e-2 for all others
NAMES = (
  'nope', 'sinusoidal', 'rope', 'transformer_xl', 'alibi', 't5', 'kerple', 'fire', 'fox',
  'stick_breaking',
)
BUDGETS = (250, 500, 1000, 2000)
SHARED = 1000  # steps of the runs of experiments/extrapolation.py
LENGTHS = (64, 512)
ARMS = {
  f'{name}-{steps}': (
    f'--config=configs/{name}.py', '--config.evaluate.multiples=1,2,4,8,16',
    f'--config.optimizer.learning_rate={RATES_CHOSEN.get(name, 1e-2)}',
    f'--config.train.steps={steps}', f'--config.optimizer.warmup={steps // 10}',
  ) for name in NAMES for steps in BUDGETS if steps != SHARED
}
SEEDS = (10, 11, 12)
VARIES = ('train.steps',)


def losses(root: Path) -> np.ndarray:
  """Returns bits per byte, [lengths, encodings, budgets, seeds]."""

  def folder(name, steps, seed):
    return f'text64/{name}-{seed}' if steps == SHARED else f'budget/{name}-{steps}-{seed}'

  def read(name, steps, seed):
    result = runs.read(root / folder(name, steps, seed) / 'evaluation.json')
    found = by_length(result, 'non-overlapping', 'bits/byte')
    return [found[length]['value'] for length in LENGTHS]

  found = [[[read(name, n, seed) for seed in SEEDS] for n in BUDGETS] for name in NAMES]
  return np.moveaxis(np.array(found), -1, 0)


def interval(differences: np.ndarray) -> tuple[float, float, float]:
  """Returns the mean over seeds, and the ends of its 95 % interval by Student's t."""
  count = len(differences)
  half = scipy.stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / math.sqrt(count)
  return differences.mean(), differences.mean() - half, differences.mean() + half


def table(found: np.ndarray) -> list[str]:
  """Returns lines of Markdown: the loss at each budget, and how it changes, for each encoding."""
  near, far = found
  lines = [
    f'| bits/byte at {LENGTHS[1]} after | {" | ".join(f"{n:,} steps" for n in BUDGETS)} | change | '
    f'change at {LENGTHS[0]} |', '| --- ' * (len(BUDGETS) + 3) + '|',
  ]
  for name, there, here in zip(NAMES, far, near, strict=True):
    changes = ['{:+.2f} [{:+.2f}, {:+.2f}]'.format(*interval(x[-1] - x[0])) for x in (there, here)]
    lines.append(f'| {name} | {" | ".join(f"{own.mean():.2f}" for own in there)} | '
                 f'{" | ".join(changes)} |')
  return lines


def crossings(far: np.ndarray) -> list[str]:
  """Returns a line for each pair of encodings whose curves cross, [encodings, budgets, seeds]."""
  lines = []
  for i, j in itertools.permutations(range(len(NAMES)), 2):
    (_, _, before), (_, after, _) = (interval(far[i, n] - far[j, n]) for n in (0, -1))
    if before < 0 < after:
      lines.append(f'{NAMES[i]} is better than {NAMES[j]} after {BUDGETS[0]} steps, and worse '
                   f'after {BUDGETS[-1]:,}')
  return lines


def draw(found: np.ndarray, path: Path) -> None:
  """Draws the loss by budget at both lengths: means of seeds, and their range."""
  from matplotlib.figure import Figure  # slow to import

  figure = Figure(figsize=(12, 5.5), layout='constrained')
  for axes, length, losses_at in zip(figure.subplots(1, 2), LENGTHS, found, strict=True):
    axes.set(xscale='log', xticks=BUDGETS, xlabel='training steps of 1,024 bytes',
             ylabel='bits per byte', title=f'{length} bytes, trained at {LENGTHS[0]}')
    axes.set_xticks(BUDGETS, [f'{n:,}' for n in BUDGETS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    for i, own in enumerate(losses_at):
      axes.plot(BUDGETS, own.mean(axis=-1), color=f'C{i}')
      axes.fill_between(BUDGETS, own.min(axis=-1), own.max(axis=-1), color=f'C{i}', alpha=0.15)
    axes.figure.draw_without_rendering()  # sets the limits
    ends = losses_at[:, -1].mean(axis=-1)
    place = axes.transData + axes.transAxes.inverted()
    order = np.argsort(ends)
    heights = spread_labels([place.transform((1, ends[i]))[1] for i in order], 1 / 18)
    for i, height in zip(order, heights, strict=True):
      axes.annotate(
        NAMES[i], (BUDGETS[-1], ends[i]), xytext=(1.03, height), textcoords='axes fraction',
        va='center', color=f'C{i}', annotation_clip=False,
      )
  figure.savefig(path, dpi=120)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--root', type=Path, default=Path('runs/sweeps'), help='folder of the sweeps')
  parser.add_argument('--figure', type=Path, default=Path('docs/budget.png'))
  options = parser.parse_args()
  found = losses(options.root)
  print('\n'.join([*table(found), '', *crossings(found[1])]))
  draw(found, options.figure)
  print(f'figure: {options.figure}')


if __name__ == '__main__':
  main()
