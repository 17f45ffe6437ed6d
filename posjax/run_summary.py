"""The report of a run: its first lines, its final table and figure, and the next command."""

import collections
import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
from ml_collections import ConfigDict

from posjax import attention
from posjax import config as config_lib
from posjax.config import identity
from posjax.data import load_tokenizer
from posjax.encodings import Encoding, arguments, name_of, parts_of
from posjax.encodings.core.declarations import ENCODER_ORDERS, most_order
from posjax.errors import show
from posjax.models.pattern import Pattern
from posjax.plotting import printable
from posjax.runtime import files

if TYPE_CHECKING:
  from posjax.state import Setup
  from posjax.tasks import Data

LONGEST_SUFFIX = 160  # in a file's name; most file systems allow 255 bytes


def count(tree: Any) -> int:
  """Returns the number of elements in all arrays of a tree."""
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def banner(setup: 'Setup', name: str, data: 'Data', workdir: pathlib.Path | str) -> str:
  """Returns the first lines of a run: its settings, and why this attention was chosen."""
  config, task, model, mesh = setup.config, setup.task, setup.model, setup.mesh
  encodings, train = model.pattern.by_name, config.train
  # Both stacks of an encoder-decoder, and the attention between them.
  stacks = zip(('encoding  ', 'encoder   ', 'cross     '), model.patterns, strict=False)
  chosen = [f'{config.attention.implementation}: by config']
  if config.attention.implementation == 'auto':
    choices = [
      attention.choose(train.length, train.length, e, model.dtype) for e in encodings.values()
    ]
    chosen = dict.fromkeys(f'{implementation}: {why}' for implementation, why in choices)
  if config.model.layer != 'attention':
    chosen = [f'none: the layers are {config.model.layer} cells']
  axes = ', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())
  return '\n'.join([
    f'config     {name}, seed {config.seed}',
    *(f'{name} {layers(pattern)}' for name, pattern in stacks),
    *unordered(setup),
    f'attention  {"; ".join(chosen)}',
    f'weights    {count(setup.shapes.params):,}, computing in {model.dtype}',
    f'devices    {devices()}: {axes}',
    f'data       {data.name}',
    f'training   {train.steps:,} steps of {train.batch} x {train.length} {task.unit}s',
    f'workdir    {workdir}',
  ])


def layers(pattern: Pattern) -> str:
  """Returns the encodings of a pattern with all arguments, and windows and chunks."""
  return ', '.join(
    signature(pattern.by_name[name])
    + (f' window {window}' if window else '') + (f' chunks of {chunk}' if chunk else '')
    + (f' shifted by {shift}' if shift else '')
    for name, window, chunk, shift in pattern.layers()
  )


def unordered(setup: 'Setup') -> list[str]:
  """Returns the line that says what an encoder cannot tell about the order of tokens, if any."""
  pattern = setup.model.pattern
  orders = [encoding.encoder_order for encoding in pattern.encodings]
  # A window has the same width on both sides; chunks begin at fixed positions.
  orders += ['distance'] * any(pattern.windows) + ['order and side'] * any(pattern.chunks)
  missing = ENCODER_ORDERS[most_order(orders)]
  if setup.task.form != 'encoder' or not missing:
    return []
  return [f'order      an encoder with {", ".join(pattern.by_name)} {missing}']


def devices() -> str:
  kinds = sorted({device.device_kind for device in jax.devices()})
  return f'{jax.device_count()} x {" and ".join(kinds)}'


def signature(encoding: Encoding) -> str:
  """Returns an encoding with all arguments, 'rope(base=10000.0, …)'; a chain is joined by '+'."""
  told = []
  for part in parts_of(encoding):
    values = ', '.join(f'{k}={v!r}' for k, v in arguments(part).items())
    told.append(f'{name_of(part)}({values})')
  return '+'.join(told)


def record(config: ConfigDict, data: 'Data', params: Any) -> dict[str, Any]:
  """Returns the record for results and checkpoints: config, data, devices, code version."""
  return {
    'weights': count(params),
    'devices': devices(),
    'config': config_lib.to_dict(config),
    'corpus': data.name,
    'sha256': data.sha256,
    'tokenizer': load_tokenizer.load(config.data.tokenizer).sha256,
    'code': code_version(),
    'format': identity.FORMAT,
  }


def code_version() -> str:
  """Returns posjax's version; in a checkout with git installed, also the commit."""
  version = importlib.metadata.version('posjax')
  root = pathlib.Path(__file__).parents[1]
  if not (root / '.git').exists() or not shutil.which('git'):
    return version
  commit = subprocess.run(
    ['git', '-C', root, 'describe', '--always', '--dirty', '--exclude=*'],
    capture_output=True, text=True, check=False,
  )
  return f'{version}+{commit.stdout.strip()}'


def table(result: dict[str, Any]) -> str:
  """Returns the table: a line for each length, a column for each test and metric, test titles."""
  records, lengths = result['records'], lengths_of(result)
  columns = [*dict.fromkeys((each['test'], each['metric']) for each in records)]
  cells = {
    (each['test'], each['metric'], each['length']): cell(each, result['limit']) for each in records
  }
  widths = {
    column: 2 + max(9, len(column[1]), *(len(cells.get((*column, n), '')) for n in lengths))
    for column in columns
  }
  heads = collections.Counter()
  for test, metric in columns:
    heads[test] += widths[test, metric]
  lines = [
    f'{"":>14}' + ''.join(f'{test:>{width}}' for test, width in heads.items()),
    f'{"length":>14}' + ''.join(f'{metric:>{widths[test, metric]}}' for test, metric in columns),
  ]
  for n in lengths:
    row = ''.join(f'{cells.get((*column, n), ""):>{widths[column]}}' for column in columns)
    lines.append(f'{n:>7,} {n / lengths[0]:>4.3g}x {row}'.rstrip())
  lines += [*result['tests'].values(), *floors(records), *filter(None, [result['scored']])]
  return '\n'.join(lines)


def lengths_of(result: dict[str, Any]) -> list[int]:
  return [*dict.fromkeys(each['length'] for each in result['records'])]


def cell(record: dict[str, Any], limit: int | None) -> str:
  return f'beyond {limit}' if record['value'] is None else f'{record["value"]:.3f}'


def floors(records: Sequence[dict[str, Any]]) -> Iterator[str]:
  """Yields a line for each test and metric with a floor, the value of a guess."""
  known = [each for each in records if each['floor'] is not None]
  for test, metric in dict.fromkeys((each['test'], each['metric']) for each in known):
    own = [each for each in known if (each['test'], each['metric']) == (test, metric)]
    by_length = ', '.join(f'{each["floor"]:.3f} at {each["length"]:,}' for each in own)
    yield f'a guess, {test}, {metric}: {by_length}'


def finish(
  result: dict[str, Any], record: dict[str, Any], workdir: pathlib.Path | str, *, name: str,
  step: int, command: str, hint: str, differs: dict[str, tuple[Any, Any]] | None = None,
) -> None:
  """Prints the table and the next command, and saves evaluation.json and its figure.

  `differs` holds the settings that differ from training, as `config.difference` returns them. The
  names of the files then include these settings, so that the run's files stay. `hint` is the
  task's.
  """
  print(f'\n{name} after {step:,} steps, on {record["corpus"]}, test split')
  print(table(result), flush=True)
  if os.access(workdir, os.W_OK):
    contents = {'name': name, 'step': step, **record, **result}
    print(f'figure: {save(contents, workdir, suffix(differs or {}))}')
  else:
    warnings.warn(f'{workdir} cannot be written: these results are not saved', stacklevel=2)
  if hint:
    print(f'next:   {command} {hint}', flush=True)


def read_with(difference: dict[str, tuple[Any, Any]]) -> str:
  """Returns the line that lists the settings that differ from training."""
  return f'read with  {", ".join(_set(difference))}'


def _set(difference):
  """Returns ['encoding.rope.base=5.0', …]: the keys that have a new value."""
  return [f'{k}={show(new)}' for k, (_, new) in difference.items() if new is not None]


def suffix(difference: dict[str, tuple[Any, Any]]) -> str:
  """Returns a suffix for file names, '-rope.base=5.0'; '' if nothing differs."""
  text = ''.join(f'-{each.removeprefix("encoding.")}' for each in _set(difference))
  plain = re.sub(r'[^\w.,=+-]', '_', text)
  if len(plain) <= LONGEST_SUFFIX:
    return plain
  return f'{plain[: LONGEST_SUFFIX - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}'


def save(contents: dict[str, Any], workdir: pathlib.Path | str, suffix: str = '') -> pathlib.Path:
  """Writes the figure, then evaluation.json; returns the figure's path."""
  workdir = pathlib.Path(workdir)
  figure = workdir / f'by_length{suffix}.png'
  plot(contents, figure)
  files.replace(workdir / f'evaluation{suffix}.json', json.dumps(contents, indent=2) + '\n')
  return figure


def plot(contents: dict[str, Any], path: pathlib.Path | str) -> None:
  """Draws a row per shown metric: left, each test by length; right, the first test by position."""
  from matplotlib.figure import Figure  # slow to import

  shown = contents['shown']
  figure = Figure(figsize=(11, 4 * len(shown)), layout='constrained')
  panels = figure.subplots(len(shown), 2, squeeze=False)
  for (left, right), metric in zip(panels, shown, strict=True):
    plot_lengths(left, contents, metric)
    test, found = next(iter(contents['by_position'].items()))
    if metric in found:
      plot_positions(right, found[metric], f'{contents["unit"]}s, {test}')
    else:  # the metric is per row
      right.set_axis_off()
    for axes in (left, right)[: 1 + (metric in found)]:
      axes.axvline(lengths_of(contents)[0], color='grey', linestyle=':')
      axes.annotate(
        ' training length', (lengths_of(contents)[0], 1), xycoords=('data', 'axes fraction'),
        va='top', color='grey', fontsize='small',
      )
      axes.set_ylabel(metric)
      axes.grid(alpha=0.3)
  title = f'{contents["name"]}, step {contents["step"]:,}: {contents["corpus"]}'
  # A $ in a name must not start a formula.
  figure.suptitle(printable(title), parse_math=False)
  figure.savefig(path, dpi=120)


def plot_lengths(axes: Any, contents: dict[str, Any], metric: str) -> None:
  """Draws a line for each test, and a dotted one for its floor; omits lengths beyond the limit."""
  lengths = lengths_of(contents)
  for (test, title), marker in zip(contents['tests'].items(), itertools.cycle('os^dv')):
    own = [r for r in contents['records'] if (r['test'], r['metric']) == (test, metric)]
    if not own:
      continue  # another test has this metric
    points = [(r['length'], r['value']) for r in own if r['value'] is not None]
    (line,) = axes.plot(*zip(*points, strict=True), marker=marker, label=title)
    guess = [(r['length'], r['floor']) for r in own if r['floor'] is not None]
    if guess:
      axes.plot(*zip(*guess, strict=True), linestyle=':', color=line.get_color())
  axes.set_xscale('log', base=2)
  axes.set_xticks(lengths, map(str, lengths))
  axes.set_xlabel(f'length, {contents["unit"]}s')
  axes.legend(fontsize='small', loc='upper left', bbox_to_anchor=(0, -0.15), frameon=False)


def plot_positions(axes: Any, means: Sequence[float | None], what: str) -> None:
  """Draws a test's means by position, at the longest length that was scored."""
  values = [math.nan if x is None else x for x in means]
  windows = (values[max(0, i - 8) : i + 9] for i in range(len(values)))
  axes.plot(values, linewidth=0.5, color='C0', alpha=0.4)
  axes.plot([sum(part) / len(part) for part in windows], color='C0')
  axes.set_xlabel(f'position in a row of {len(values)} {what}')
