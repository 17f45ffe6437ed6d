"""How stable is a ranking of encodings: with another seed, another learning rate, another text?

  python -m posjax.sweep experiments/extrapolation.py
  python -m posjax.sweep experiments/extrapolation.py --tier=slow_rate --arms=ARMS
  (the same with --tier=shakespeare and --tier=chinese)
  python experiments/rank_stability.py

ARMS are those of `NAMES` below. The ranking on Python's library is that at the best rate, which is
1e-2 for all but nope (3e-3); each tier has three seeds and one rate for all arms. Prints
Kendall's tau (scipy.stats.kendalltau) between two rankings by bits per byte, at the trained length
and at eight times it: 1 for the same order, 0 for unrelated ones. The 95 % interval draws seeds
with replacement, 2,000 times, for both rankings alike.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import scipy.stats

from posjax.sweep.table import by_length

NAMES = (
  'nope', 'sinusoidal', 'rope', 'transformer_xl', 'alibi', 't5', 'kerple', 'fire', 'fox',
  'stick_breaking',
)
SEEDS = (10, 11, 12)
LENGTHS = (64, 512)
REFERENCE = 'text64'  # the folder of experiments/extrapolation.py
TIERS = {
  'slow_rate': 'the same at 3e-3', 'shakespeare': 'Shakespeare at 1e-2',
  'chinese': 'Chinese reviews at 1e-2',
}
DRAWS = 2000


def losses(folder: Path) -> np.ndarray:
  """Returns bits per byte, [lengths, arms, seeds], of the runs in a folder."""
  read = lambda name, seed: json.loads((folder / f'{name}-{seed}/evaluation.json').read_text())
  runs = [[by_length(read(name, seed), 'non-overlapping', 'bits/byte') for seed in SEEDS]
          for name in NAMES]
  return np.array([[[run[n]['value'] for run in own] for own in runs] for n in LENGTHS])


def tau(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
  """Returns tau between two rankings by the mean over seeds, [arms, seeds], and its interval."""
  rank = lambda drawn: scipy.stats.kendalltau(
    a[:, drawn].mean(axis=1), b[:, drawn].mean(axis=1)
  ).statistic
  drawn = np.random.default_rng(0).integers(a.shape[1], size=(DRAWS, a.shape[1]))
  low, high = np.quantile([rank(own) for own in drawn], (0.025, 0.975))
  return rank(np.arange(a.shape[1])), low, high


def cell(value, low, high):
  return f'{value:.2f} [{low:.2f}, {high:.2f}]'


def compare(root: Path) -> None:
  print(f'| {len(NAMES)} encodings | {" | ".join(f"{n} bytes" for n in LENGTHS)} |')
  print('| --- ' * (len(LENGTHS) + 1) + '|')
  reference = losses(root / REFERENCE)
  pairs = [*itertools.combinations(range(len(SEEDS)), 2)]
  taus = np.array([
    [scipy.stats.kendalltau(own[:, i], own[:, j]).statistic for i, j in pairs] for own in reference
  ])
  cells = (cell(own.mean(), own.min(), own.max()) for own in taus)
  print(f'| two single seeds: mean [lowest, highest] of {len(pairs)} pairs | {" | ".join(cells)} |')
  for tier, words in TIERS.items():
    found = losses(root / f'{REFERENCE}-{tier}')
    cells = (cell(*tau(a, b)) for a, b in zip(reference, found, strict=True))
    print(f'| the Python library and {words} | {" | ".join(cells)} |')


if __name__ == '__main__':
  compare(Path(sys.argv[1] if len(sys.argv) > 1 else 'runs/sweeps'))
