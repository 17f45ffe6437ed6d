"""What a run shows: its first lines, the table and the figure at its end, and what to try next."""

import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import warnings

import jax

from posjax import attention, data
from posjax import config as config_lib
from posjax.encodings import Chain, arguments, name_of
from posjax.errors import show
from posjax.plotting import printable
from posjax.runtime import files

LONGEST_SUFFIX = 160  # of a file's name, of which most file systems take 255 bytes


def count(tree):
  """Numbers in all leaves of a tree."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def banner(config, name, model, mesh, params, corpus, workdir):
  """The run's first lines: what exactly will happen, and why. `params` may be shapes alone."""
  encodings = model.pattern.by_name
  layers = ', '.join(
    signature(encodings[name])
    + (f' window {window}' if window else '') + (f' chunks of {chunk}' if chunk else '')
    for name, window, chunk in model.pattern.layers()
  )
  train = config.train
  chosen = [f'{config.attention.implementation}: by config']
  if config.attention.implementation == 'auto':
    choices = [
      attention.choose(train.length, train.length, e, model.dtype) for e in encodings.values()
    ]
    chosen = dict.fromkeys(f'{implementation}: {why}' for implementation, why in choices)
  axes = ', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())
  return '\n'.join([
    f'config     {name}, seed {config.seed}',
    f'encoding   {layers}',
    f'attention  {"; ".join(chosen)}',
    f'weights    {count(params):,}, computing in {model.dtype}',
    f'devices    {devices()}: {axes}',
    f'corpus     {corpus}',
    f'training   {train.steps:,} steps of {train.batch} x {train.length} bytes',
    f'workdir    {workdir}',
  ])


def devices():
  kinds = sorted({device.device_kind for device in jax.devices()})
  return f'{jax.device_count()} x {" and ".join(kinds)}'


def signature(encoding):
  """An encoding with all its arguments, 'rope(base=10000.0, …)'; of a chain one after the other."""
  if isinstance(encoding, Chain):
    return '+'.join(map(signature, encoding.parts))
  values = ', '.join(f'{k}={v!r}' for k, v in arguments(encoding).items())
  return f'{name_of(encoding)}({values})'


def record(config, corpus, params):
  """What stands beside every result and in every checkpoint: what it was made with."""
  return {
    'weights': count(params),
    'devices': devices(),
    'config': config_lib.to_dict(config),
    'corpus': str(corpus),
    'sha256': corpus.sha256,
    'prompt': prompt(corpus),
    'code': code_version(),
  }


def prompt(corpus):
  """The beginning of a line of held-out text that can be printed, at most 20 bytes: '' if none."""
  excerpt, *_ = data.excerpts(corpus, 'test', tokens=1000, excerpt=1000)
  first, *lines = data.decode(excerpt).decode('utf-8', 'ignore').split('\n')
  words = [cut(line.strip(), 20) for line in [*lines, first]]  # the first line may be cut in two
  return next((text for text in words if text and text.isprintable()), '')


def cut(text, size):
  """The first `size` bytes of UTF-8 of a text, less a character that they cut."""
  return text.encode()[:size].decode('utf-8', 'ignore')


def code_version():
  """posjax's version, and the commit if this is a checkout of its repository, with git there."""
  version = importlib.metadata.version('posjax')
  root = pathlib.Path(__file__).parents[1]
  if not (root / '.git').exists() or not shutil.which('git'):
    return version
  commit = subprocess.run(
    ['git', '-C', root, 'describe', '--always', '--dirty', '--exclude=*'],
    capture_output=True, text=True, check=False,
  )
  return f'{version}+{commit.stdout.strip()}'


def table(result):
  """Nats and bits per byte at each length, under the two protocols; one line per length."""
  protocols = result['protocols']
  lines = [f'{"":>12}{"non-overlapping":>22}{"sliding":>22}']
  lines += [f'{"length":>12}' + f'{"nats/byte":>11}{"bits/byte":>11}' * len(protocols)]
  for row in result['lengths']:
    cells = ''.join(cell(row[protocol], result['limit']) for protocol in protocols)
    lines.append(f'{row["length"]:>7,} {row["multiple"]:>2}x {cells}'.rstrip())
  scored = result['scored']
  lines += [*protocols.values(), f'scored: {scored["documents"]:,} of {scored["of"]:,} documents']
  return '\n'.join(lines)


def cell(nats, limit):
  if nats is None:
    return f'{f"beyond {limit} positions":>22}'
  return f'{nats:>11.3f}{nats / math.log(2):>11.3f}'


def finish(result, record, workdir, *, name, step, command, differs=None):
  """Prints the table and the next commands, and saves evaluation.json and loss_by_length.png.

  Where the model is not as it was trained, `differs` says how, as `config.difference` does: the
  files are then named after it, and those of the run stay.
  """
  print(f'\n{name} after {step:,} steps, on {record["corpus"]}, test split')
  print(table(result), flush=True)
  if os.access(workdir, os.W_OK):
    contents = {'name': name, 'step': step, **record, **result}
    print(f'figure: {save(contents, workdir, suffix(differs or {}))}')
  else:
    warnings.warn(f'{workdir} cannot be written: these results are not saved', stacklevel=2)
  limit = result['limit'] or math.inf
  beginning = cut(record['prompt'], int(min(20, limit / 2)))
  most = limit - len(beginning.encode()) - 1  # BOS
  fits = most >= record['config']['generate']['tokens']
  tokens = '' if fits else f' --config.generate.tokens={most}'
  print(f'next:   {command}{tokens} --mode=generate --prompt={shlex.quote(beginning)}', flush=True)


def read_with(difference):
  """The line that says how a model is read otherwise than it was trained."""
  return f'read with  {", ".join(_set(difference))}'


def _set(difference):
  """['encoding.rope.base=5.0', …]: the keys that are set, with their values."""
  return [f'{k}={show(new)}' for k, (_, new) in difference.items() if new is not None]


def suffix(difference):
  """The same for names of files, '-rope.base=5.0'; '' where nothing differs."""
  text = ''.join(f'-{each.removeprefix("encoding.")}' for each in _set(difference))
  plain = re.sub(r'[^\w.,=+-]', '_', text)
  if len(plain) <= LONGEST_SUFFIX:
    return plain
  return f'{plain[: LONGEST_SUFFIX - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}'


def save(contents, workdir, suffix=''):
  """Writes evaluation.json and, first, the figure; the figure's path."""
  workdir = pathlib.Path(workdir)
  figure = workdir / f'loss_by_length{suffix}.png'
  plot(contents, figure)
  files.replace(workdir / f'evaluation{suffix}.json', json.dumps(contents, indent=2) + '\n')
  return figure


def plot(contents, path):
  """Left: bits per byte against length, by both protocols. Right: against position."""
  from matplotlib.figure import Figure  # slow to import

  figure = Figure(figsize=(11, 4), layout='constrained')
  left, right = figure.subplots(1, 2)
  rows = contents['lengths']
  trained = rows[0]['length']
  for protocol, marker in (('non_overlapping', 'o'), ('sliding', 's')):
    points = [(row['length'], row[protocol] / math.log(2)) for row in rows if row[protocol]]
    left.plot(*zip(*points, strict=True), marker=marker, label=contents['protocols'][protocol])
  left.set_xscale('log', base=2)
  left.set_xticks([row['length'] for row in rows], [str(row['length']) for row in rows])
  left.set_xlabel('length of the window, bytes')
  left.legend(fontsize='small', loc='upper left', bbox_to_anchor=(0, -0.15), frameon=False)
  nats = contents['by_position']
  bits = [math.nan if n is None else n / math.log(2) for n in nats]
  around = [bits[max(0, i - 8) : i + 9] for i in range(len(bits))]
  right.plot(bits, linewidth=0.5, color='C0', alpha=0.4)
  right.plot([sum(part) / len(part) for part in around], color='C0')
  right.set_xlabel(f'position in a non-overlapping window of {len(nats)} bytes')
  for axes in (left, right):
    axes.axvline(trained, color='grey', linestyle=':')
    axes.annotate(
      ' training length', (trained, 1), xycoords=('data', 'axes fraction'), va='top',
      color='grey', fontsize='small',
    )
    axes.set_ylabel('bits per byte')
    axes.grid(alpha=0.3)
  title = f'{contents["name"]}, step {contents["step"]:,}: {contents["corpus"]}'
  # A $ in a name begins no formula, and what has no shape cannot be drawn.
  figure.suptitle(printable(title), parse_math=False)
  figure.savefig(path, dpi=120)
