"""A longer context without tuning: RoPE trained at 256 bytes, read at 1,024, under each scaling.

  python experiments/extension.py

Chen et al. 2023 (arXiv 2306.15595), Peng et al. 2023 (arXiv 2309.00071): interpolation and YaRN are
made to be tuned for some hundred steps; NTK-aware scaling (bloc97 2023) and attention that maps far
positions to near ones (ReRoPE, Self-Extend, Dual Chunk) are said to need none; STRING is made for
lengths up to the trained one, and beyond it leaves most distances too far. Here none is tuned. One
model for each of three seeds is trained once, and its weights are read with other frequencies or
positions. Bits per byte, mean and 95 % interval; the same command goes on where it stopped.
"""

import subprocess
import sys
from pathlib import Path

import jax
import tqdm

from posjax import command_line, compile_cache, data, evaluate, files, pool, state, transformer

TRAINED, FACTOR, SEEDS = 256, 4.0, (0, 1, 2)
FOLDER = Path('runs/extension')
ARGUMENTS = (
  '--config=configs/rope.py', f'--config.train.length={TRAINED}',
  '--config.evaluate.multiples=1,2,4',
)
STRETCH = dict(factor=FACTOR, original_max_position_embeddings=TRAINED)
HALF, EIGHTH = TRAINED // 2, TRAINED // 8


def scaled(rope_type, **arguments):
  return dict(layers=('rope',), rope=dict(scaling=dict(rope_type=rope_type, **arguments)))


WAYS = {
  'none': scaled('default'),
  'linear': scaled('linear', factor=FACTOR),
  'ntk': scaled('ntk', factor=FACTOR),
  'dynamic': scaled('dynamic', **STRETCH),
  'yarn': scaled('yarn', **STRETCH),
  'yarn, ramp of the paper': scaled('yarn', ramp='paper', **STRETCH),
  'llama3': scaled('llama3', low_freq_factor=1.0, high_freq_factor=4.0, **STRETCH),
  'resonance': scaled('default', resonance=True),
  'clipped': scaled('clipped', clip_low_n=2),
  'rerope': dict(layers=('rerope',), rerope=dict(window=HALF)),
  'rerope, leaky': dict(layers=('rerope',), rerope=dict(window=HALF, slope=1 / 16)),
  'self_extend': dict(layers=('self_extend',), self_extend=dict(window=HALF, group=8)),
  'string_shift': dict(layers=('string_shift',), string_shift=dict(shift=HALF, window=EIGHTH)),
  'dual_chunk': dict(layers=('dual_chunk',), dual_chunk=dict(chunk=192, window=EIGHTH)),
  'log n, rope': dict(layers=('temperature+rope',), temperature=dict(kind='log_n', length=TRAINED)),
}


def trained(seed):
  """The arguments of a run and its folder, trained to the end."""
  folder = FOLDER / str(seed)
  arguments = (*ARGUMENTS, f'--config.seed={seed}')
  command = [sys.executable, '-m', 'posjax.main', *arguments, f'--workdir={folder}']
  if not (folder / 'evaluation.json').exists():
    subprocess.run(command, check=True)
  return command_line.load('configs/rope.py', arguments[1:])[0], folder


def read(config, folder):
  """{way: {protocol: {length: nats per byte}}} of one trained model, and the protocols."""
  saved = state.load(config, folder, 'newest')
  held_out = evaluate.hold_out(config, data.load(**config.data))
  found = {}
  for name, encoding in tqdm.tqdm(WAYS.items(), desc=str(folder)):
    config.encoding = encoding
    model = transformer.from_config(config)
    # None of these encodings has weights.
    params = saved.params | {'encoding': {part: {} for part in model.pattern.by_name}}
    scorer = evaluate.Scorer(model, saved.mesh, config.train.batch * TRAINED, config.seed)
    with jax.set_mesh(saved.mesh):
      result = evaluate.evaluate(scorer, params, held_out, None)
    found[name] = {
      protocol: {row['length']: row[protocol] for row in result['lengths']}
      for protocol in held_out.protocols
    }
  return found, held_out.protocols


def table(found, protocol, text):
  """Lines of Markdown: a row for each way, a column for each length."""
  lengths = list(found[0]['none'][protocol])
  lines = [f'{text}', '', f'| | {" | ".join(map(str, lengths))} |']
  lines.append('| --- ' * (len(lengths) + 1) + '|')
  for name in WAYS:
    cells = (pool.cell([each[name][protocol][n] for each in found], None) for n in lengths)
    lines.append(f'| {name} | {" | ".join(cells)} |')
  return [*lines, '']


def main():
  compile_cache.keep(FOLDER)
  found, protocols = zip(*(read(*trained(seed)) for seed in SEEDS), strict=True)
  lines = [line for p, text in protocols[0].items() for line in table(found, p, text)]
  files.replace(FOLDER / 'table.md', '\n'.join(lines))
  print('\n'.join(lines))
  print(f'table: {FOLDER / "table.md"}')


if __name__ == '__main__':
  main()
