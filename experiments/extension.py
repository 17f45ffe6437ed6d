"""A longer context without fine-tuning: RoPE trained at 256 bytes, evaluated at 1,024.

  python experiments/extension.py

Chen et al. 2023 (arXiv 2306.15595), Peng et al. 2023 (arXiv 2309.00071): interpolation and YaRN
expect some hundred steps of fine-tuning. NTK-aware scaling (bloc97 2023) and attention that maps
far positions to near ones (ReRoPE, Self-Extend, Dual Chunk) claim to need none. STRING is designed
for lengths up to the trained one; beyond it, most distances remain too large. Here nothing is
fine-tuned: one model per seed (three seeds) is trained once, and its weights are evaluated with
other frequencies or positions, each by one printed command of posjax.main. Prints bits per byte,
mean and 95 % interval; the same command resumes where it stopped.
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from posjax import run as run_lib
from posjax import run_summary
from posjax.config import identity
from posjax.runtime import files
from posjax.sweep.table import by_length, cell

TRAINED, FACTOR, SEEDS = 256, 4, (0, 1, 2)
FOLDER = Path('runs/extension')
TRAIN = (
  '--config=configs/rope.py', f'--config.train.length={TRAINED}',
  '--config.evaluate.multiples=1,2,4',
)
HALF, EIGHTH = TRAINED // 2, TRAINED // 8


def scaled(rope_type, **arguments):
  """Returns the flags of a scaling; posjax.main fills in the trained length."""
  keys = {'rope_type': rope_type, 'factor': FACTOR} | arguments
  return tuple(f'--config.encoding.rope.scaling.{key}={value}' for key, value in keys.items())


def mapped(layers, **arguments):
  """Returns the flags of another encoding, with arguments for its first part."""
  part = layers.split('+')[0]
  flags = (f'--config.encoding.{part}.{key}={value}' for key, value in arguments.items())
  return f'--config.encoding.layers={layers}', *flags


WAYS = {
  'none': (),
  'linear': scaled('linear'),
  'ntk': scaled('ntk'),
  'dynamic': scaled('dynamic'),
  'yarn': scaled('yarn'),
  'yarn, ramp of the paper': scaled('yarn', ramp='paper'),
  'llama3': scaled('llama3', low_freq_factor=1.0, high_freq_factor=4.0),
  'resonance': (
    '--config.encoding.rope.scaling.rope_type=default',
    '--config.encoding.rope.scaling.resonance=true',
  ),
  'clipped': (
    '--config.encoding.rope.scaling.rope_type=clipped',
    '--config.encoding.rope.scaling.clip_low_n=2',
  ),
  'rerope': mapped('rerope', window=HALF),
  'rerope, leaky': mapped('rerope', window=HALF, slope=1 / 16),
  'self_extend': mapped('self_extend', window=HALF, group=8),
  'string_shift': mapped('string_shift', shift=HALF, window=EIGHTH),
  'dual_chunk': mapped('dual_chunk', chunk=192, window=EIGHTH),
  'log n, rope': mapped('temperature+rope', kind='log_n', length=TRAINED),
}


def run(*flags):
  command = ['-m', 'posjax.main', *flags]
  print(f'$ python {shlex.join(command)}', flush=True)
  subprocess.run([sys.executable, *command], check=True)


def measured(seed):
  """Trains a model if needed; returns {way: {protocol: {length: bits per byte}}}."""
  folder = FOLDER / str(seed)
  if not (folder / 'evaluation.json').exists():
    run(*TRAIN, f'--config.seed={seed}', f'--workdir={folder}')
  trained = run_lib.parse(['posjax', f'--workdir={folder}']).config
  found = {}
  for name, way in WAYS.items():
    flags = (f'--workdir={folder}', '--mode=evaluate', *way)
    own = run_lib.parse(['posjax', *flags]).config
    path = folder / f'evaluation{run_summary.suffix(identity.difference(trained, own))}.json'
    if not path.exists():
      run(*flags)
    result = json.loads(path.read_text())
    found[name] = {
      title: {n: record['value'] for n, record in by_length(result, test, 'bits/byte').items()}
      for test, title in result['tests'].items()
    }
  return found


def table(found, protocol):
  """Returns lines of Markdown: a row for each way, a column for each length."""
  lengths = list(found[0]['none'][protocol])
  lines = [protocol, '', f'| | {" | ".join(map(str, lengths))} |']
  lines.append('| --- ' * (len(lengths) + 1) + '|')
  for name in WAYS:
    cells = (cell([each[name][protocol][n] for each in found], None) for n in lengths)
    lines.append(f'| {name} | {" | ".join(cells)} |')
  return [*lines, '']


def compare():
  found = [measured(seed) for seed in SEEDS]
  lines = [line for protocol in found[0]['none'] for line in table(found, protocol)]
  files.replace(FOLDER / 'table.md', '\n'.join(lines))
  print('\n'.join(lines))
  print(f'table: {FOLDER / "table.md"}')


if __name__ == '__main__':
  compare()
