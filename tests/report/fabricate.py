"""Sweeps with invented results, whose manifests the real code writes."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from posjax import config as config_lib
from posjax.evaluate import BLOCKS
from posjax.report import formats, numbers, read
from posjax.sweep import experiment as experiments
from posjax.sweep import manifest
from posjax.sweep import runs as runs_lib

FILE = '''"""{question}

Someone 2026, arXiv 2108.12409: a sentence about it.
"""

from posjax.sweep.experiment import Claim, Exact, Tier

ARMS = dict.fromkeys({arms!r}, ('--config=configs/rope.py',))
SEEDS = (10, 11, 12)
RATES = {rates!r}
MEASURE = {measure!r}
CLAIMS = ({claims})
'''
TEST = 'non-overlapping'
SPEED = [{'step': 10, 'seconds': 9.0}, {'step': 20, 'seconds': 10.0}, {'step': 40, 'seconds': 12.0}]
VALUES = {
  'rope': {64: [1.0, 1.1, 1.2], 128: [2.0, 2.1, 2.2]},
  'alibi': {64: [1.9, 2.1, 2.3], 128: [1.9, 2.1, 2.4]},
  'learned': {64: [1.05, 1.0, 1.3], 128: None},
}
CLAIMS = '''
  Claim('RoPE loses a bit & a "<script>alert(1)</script>|', paper='see arXiv 1706.03762 <b>',
        value=lambda at: at('rope', 128) - at('rope', 64), above=0.9),
  Claim('ALiBi is worse', lambda at: at('alibi', 64) - at('rope', 64), above=0.5),
  Exact('an identity', lambda: 2e-9, below=1e-6),
'''
MORE = '''
  Claim('seven', lambda at: at('rope', 128) - at('rope', 64), above=0.9),
  Claim('eight', lambda at: at('alibi', 64) - at('rope', 64), above=0.8),
'''
LOSSES = {'rope': {0.003: 2.0, 0.01: 1.5, 0.02: 1.75}, 'alibi': {0.003: 1.25, 0.01: 1.5, 0.02: 2.0}}


def experiment(
  folder: Path, *, arms, claims='', question='Topic: is it so?', rates=(), metric='bits/byte',
  name='topic',
):
  """Returns an experiment from a file that is written into a folder."""
  path = folder / f'{name}.py'
  measure = (TEST, metric)
  path.write_text(FILE.format(
    question=question, arms=[*arms], rates=rates, claims=claims, measure=measure,
  ))
  return experiments.load(path)


def sweep(experiment, workdir, values, *, tier='cpu', floor=None, losses=None, noise=0.0):
  """Writes the runs of an experiment and its manifest; returns `workdir`.

  Args:
    experiment: the experiment.
    workdir: its folder.
    values: {arm: {length: [value of each seed]}}; None is a length beyond the limit.
    tier: the tier's name.
    floor: the value of a guess.
    losses: {arm: {rate: validation loss}}.
    noise: standard deviation of the blocks of a test, which all arms share.
  """
  size = experiment.tier(tier)
  known = []
  if losses:
    tried = runs_lib.plan(experiment, size, workdir, {a: [*own] for a, own in losses.items()})
    for run in tried:
      write(run, {64: 1.0}, experiment.measure, None, np.zeros(BLOCKS))
      row = {'step': run.config.train.steps, 'loss': 1.0,
             'validation_loss': losses[run.arm][run.rate]}
      (run.folder / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
    known.append(tried)
  arms = runs_lib.plan(experiment, size, workdir)
  blocks = noise * np.random.default_rng(0).normal(size=BLOCKS)
  record = manifest.Manifest(experiment, tier, size, workdir)
  record.update([*known, arms])  # before the results, so that the criterion is older
  for run in arms:
    index = experiment.seeds.index(run.seed)
    own = {n: seeds and seeds[index] for n, seeds in values[run.arm].items()}
    write(run, own, experiment.measure, floor, blocks - blocks.mean())
  record.update([*known, arms])
  return workdir


def write(run, values, measure, floor, blocks):
  """Writes the files of a finished run: evaluation.json, speed.jsonl and sweep.json."""
  run.folder.mkdir(parents=True)
  test, metric = measure
  within = {n: value for n, value in values.items() if value is not None}
  contents = {
    'name': run.arm, 'step': run.config.train.steps, 'weights': 1234, 'devices': '1 x cpu',
    'config': config_lib.to_dict(run.config), 'corpus': 'a text: 3 files', 'sha256': 'ab12',
    'code': '0.1.0+abc', 'limit': None if len(within) == len(values) else 99,
    'tests': {test: f'{test}, the same 100 bytes at each length'},
    'records': [
      {'test': test, 'metric': metric, 'length': n, 'value': value, 'floor': floor}
      for n, value in values.items()
    ],
    'by_position': {test: {metric: [None, *[float(v) for v in [*within.values()] * 30]]}},
    'blocks': {
      test: {str(n): {metric: [[value + b, 1.0] for b in blocks]} for n, value in within.items()}
    },
    'scored': '', 'unit': 'byte', 'shown': [metric],
  }
  (run.folder / 'evaluation.json').write_text(json.dumps(contents))
  (run.folder / 'speed.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in SPEED))
  note = {'exit_code': 0, 'seconds': 30.0, 'cpu_seconds': 40.5, 'peak_mebibytes': 300 + run.seed,
          'python': '3.11.7', 'jax': '0.10.2'}
  (run.folder / 'sweep.json').write_text(json.dumps(note))


def load(*folders):
  return read.load_all(folders)


def of(folder, metric='bits/byte'):
  return numbers.Numbers(load(folder)[0], TEST, metric)


def rows_of(table):
  return [*csv.DictReader(io.StringIO(formats.to_csv(table)))]
