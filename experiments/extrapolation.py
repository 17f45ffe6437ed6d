"""Train short, test long: which encodings hold at lengths beyond those they were trained at?

Press et al. 2022, arXiv 2108.12409: ALiBi holds or improves as the input grows, sinusoidal
embeddings fail at once, rotary ones soon after. Each arm is trained at `train.length` with three
seeds and evaluated up to eight times that.

`python experiments/extrapolation.py` trains what is missing (15 runs of about a minute on two CPU
cores) and prints the table; started again, it goes on where it stopped.
"""

import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import scipy.stats
import tqdm

ARMS = ('nope', 'sinusoidal', 'learned', 'rope', 'alibi')
SEEDS = (0, 1, 2)
RUNS = pathlib.Path('runs/extrapolation')


def run(arm, seed):
  """The evaluation of one run, which is trained if it is not there yet."""
  workdir = RUNS / f'{arm}-{seed}'
  command = [
    sys.executable, '-m', 'posjax.main', f'--config=configs/{arm}.py', f'--workdir={workdir}',
    f'--config.seed={seed}',
  ]
  path = workdir / 'evaluation.json'
  if not path.exists():
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
      sys.exit(f'{arm}, seed {seed}: {done.stderr}')
  return json.loads(path.read_text())


def interval(values):
  """Mean and half the 95 % confidence interval of the mean, by Student's t."""
  half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
  return f'{np.mean(values):.2f} ± {half:.2f}'


def table(results, protocol):
  """Bits per byte of each arm at each length, as Markdown."""
  rows = next(iter(results.values()))[0]['lengths']
  lines = ['| encoding | ' + ' | '.join(f'{row["length"]}' for row in rows) + ' |']
  lines.append('| --- ' * (len(rows) + 1) + '|')
  for arm, runs in results.items():
    columns = zip(*([row[protocol] for row in run['lengths']] for run in runs), strict=True)
    cells = (
      f'beyond {runs[0]["limit"]}' if None in column
      else interval(np.array(column) / math.log(2))
      for column in columns
    )
    lines.append(f'| {arm} | ' + ' | '.join(cells) + ' |')
  return '\n'.join(lines)


def main():
  todo = tqdm.tqdm([(arm, seed) for arm in ARMS for seed in SEEDS], unit='run')
  runs = [(arm, run(arm, seed)) for arm, seed in todo]
  results = {arm: [result for name, result in runs if name == arm] for arm in ARMS}
  first = runs[0][1]
  for arm, result in runs:
    for key in ('corpus', 'sha256', 'step', 'protocols'):
      if result[key] != first[key]:
        sys.exit(f'{RUNS}: {arm} has another {key} than {ARMS[0]}, so they do not compare')
  print(f'{first["step"]:,} steps, seeds {SEEDS}, mean and 95 % interval, {first["corpus"]}')
  for protocol, text in first['protocols'].items():
    print(f'\nBits per byte by length of the window; {text}\n\n{table(results, protocol)}')


if __name__ == '__main__':
  main()
