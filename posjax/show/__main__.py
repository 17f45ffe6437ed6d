"""Shows what an encoding does: one picture, and its numbers as text.

  python -m posjax.show rope
  python -m posjax.show randomize+rope --rope.base=500000
  python -m posjax.show local_global:small --config.train.length=1024
  python -m posjax.show --all

  python -m posjax.show rope_nd --grid=12,12
  python -m posjax.show --workdir=runs/rope_nd --checkpoint=best

NAME is an encoding, a chain, a comma-separated pattern of layers, or a config; a size may follow
after a colon. --ENCODING.ARGUMENT=VALUE sets an argument; --config.KEY=VALUE sets any key, as in
posjax.main.

The hooks of the encoding run on a text of equal tokens: see posjax/show/probe.py. An encoding that
reads several axes of positions is shown on a grid of tokens in an encoder. --all writes one HTML
page with every encoding and config; it needs no server.

--workdir shows the attention weights of a trained run on a held-out example of its task.

Exit codes: 0 done; 1 with --all, an encoding could not be shown; 2 a mistake in the command line,
or no device.
"""

# ruff: noqa: E402  (program.begin() must run before the other imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import datetime
import importlib.metadata
import math
import os
import platform
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tqdm
from ml_collections import ConfigDict

from posjax import config as config_lib
from posjax.config import validation
from posjax.errors import UserError, one_line, one_of
from posjax.runtime import files

if TYPE_CHECKING:
  from posjax.show.grid import Shown

PROGRAM = 'python -m posjax.show'
NEEDS = {  # what goes with a flag
  'grid': ('NAME',), 'weights': ('NAME', '--all'), 'checkpoint': ('--workdir',),
  'example': ('--workdir',),
}
MOST_CELLS = 4096
PACKAGES = ('posjax', 'jax', 'jaxlib', 'flax', 'numpy', 'matplotlib')


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
  """Returns (options, config overrides) of a command line. Raises UserError for mistakes."""
  parser = program.Parser(PROGRAM, __doc__)
  add = parser.add_argument
  add('name', nargs='?', metavar='NAME', help='encoding, chain, pattern or config to show')
  add('--all', action='store_true', help='all encodings and configs on one page, OUT/index.html')
  add('--workdir', default='', metavar='RUN', help="folder of a trained run: its attention weights")
  add('--grid', default=(), type=sizes, metavar='8,8',
      help='cells on each axis of positions, for NAME')
  add('--checkpoint', default='newest', help='of --workdir: newest, best or a step')
  add('--example', default=0, type=count, help='validation row for --workdir')
  add('--weights', default='initial', choices=('initial', 'normal'),
      help='initial values, or all drawn from N(0, 1)')
  add('--out', type=program.folder('--out'), default=Path('show'),
      help='folder for the written files')
  options, others = parser.parse_known_args(argv)
  given = {'NAME': options.name, '--all': options.all, '--workdir': options.workdir}
  if sum(map(bool, given.values())) != 1:
    raise UserError(f'name what to show, or --all, or --workdir=RUN; for example {PROGRAM} rope')
  for flag, needs in NEEDS.items():
    if getattr(options, flag) != parser.get_default(flag) and not any(map(given.get, needs)):
      raise UserError(f'--{flag}: only with {" or ".join(needs)}')
  validation.check_checkpoint('--checkpoint', options.checkpoint)
  return options, [*map(override, others)]


def sizes(text: str) -> tuple[int, ...]:
  """Returns the sizes of a grid. Raises UserError for a wrong --grid."""
  if not re.fullmatch(r'[1-9]\d{0,3}(,[1-9]\d{0,3}){1,2}', text):
    raise UserError(f'--grid={text}: must be two or three sizes, such as 8,8 or 3,6,6')
  found = tuple(map(int, text.split(',')))
  if math.prod(found) > MOST_CELLS:
    raise UserError(f'--grid={text}: {math.prod(found):,} cells; at most {MOST_CELLS:,} are shown')
  return found


def count(text: str) -> int:
  if not re.fullmatch(r'\d{1,9}', text):
    raise UserError(f'--example={text}: must be the number of a row, counted from 0')
  return int(text)


def override(argument: str) -> str:
  """Returns --config.encoding.rope.base=1 for --rope.base=1; keeps --config flags."""
  found = re.fullmatch(r'--(config\.)?([\w.]+=.*)', argument, re.DOTALL)
  if not found or '.' not in found[2].partition('=')[0] and not found[1]:
    raise UserError(
      f'{argument}: no such flag; set arguments of encodings like --rope.base=500000, and keys '
      'like --config.train.length=128'
    )
  return argument if found[1] else f'--config.encoding.{found[2]}'


def load(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """Returns the config for a name, with all arguments of its encodings and with the overrides.

  Raises:
    UserError: no config or encoding has this name, or an override is invalid.
  """
  from posjax import encodings

  spec, _, size = name.partition(':')
  layers = tuple(spec.split(','))
  sections = encodings.sections_of(layers)
  if spec in config_lib.available() or sections == [spec] and spec not in encodings.names():
    check(spec, everything())
    config, path, _ = config_lib.load(name)
  else:
    for section in sections:
      encodings.find(encodings.unlabelled(section))
    base = config_lib.CONFIGS / 'base.py'
    config, path, _ = config_lib.load(f'{base}:{size}' if size else str(base))
    config.encoding.layers = layers
  config_lib.override(config, overrides, path)
  validation.validate(config)
  return config


def check(name: str, valid: Collection[str]) -> None:
  """Raises UserError, with the nearest valid name, unless a config has this name."""
  try:
    config_lib.find(name)
  except UserError as error:
    near = one_of(name, valid)
    raise UserError(f'{name}: no such encoding or config; {near}') from error


def look(
  name: str, overrides: Sequence[str], values: str, grid: tuple[int, ...] = ()
) -> list['Shown']:
  """Returns the facts of each distinct layer of the config for `name`.

  `grid` has the cells on each axis; (): those of the task, or the usual ones.
  """
  import jax

  from posjax.show import facts
  from posjax.show import grid as on_grid

  config = load(name, overrides)
  model, sizes = on_grid.model_of(config, grid)
  same = dict(seed=config.seed, values=values)
  with jax.enable_x64(True):
    return [
      on_grid.gather(model, layer, sizes=sizes, **same) if sizes
      else facts.gather(model, layer, length=config.train.length, **same)
      for layer in dict.fromkeys(model.pattern.layers())
    ]


def show(argv: list[str]) -> int:
  """Runs a command line; returns the exit code."""
  options, overrides = parse(argv)
  from posjax.runtime import compile_cache, memory

  compile_cache.keep(options.out)
  with memory.memory_as_user_error():
    if options.workdir:
      return run(options, overrides)
    return gallery(options, overrides, argv) if options.all else one(options, overrides)


def one(options: argparse.Namespace, overrides: Sequence[str]) -> int:
  from posjax.show import picture, words

  layers = look(options.name, overrides, options.weights, options.grid)
  print('\n\n\n'.join(map(words.text, layers)), flush=True)
  options.out.mkdir(parents=True, exist_ok=True)
  path = options.out / f'{file_name(options, overrides)}.png'
  picture.draw(layers, path)
  print(f'\npicture: {path}')
  return 0


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
  """Shows the attention weights of a trained run."""
  from posjax import run as run_lib
  from posjax.runtime import remote
  from posjax.show import trained, trained_picture, trained_words

  remote.check('--workdir', options.workdir)
  workdir = os.path.expanduser(options.workdir)
  config, _, name = run_lib.of_run(workdir, [*overrides])
  which = dict(checkpoint=options.checkpoint, example=options.example)
  made = trained.gather(config, workdir, name=name, **which)
  print(trained_words.text(made))
  options.out.mkdir(parents=True, exist_ok=True)
  path = options.out / f'{made.file_name}.png'
  trained_picture.draw(made, path)
  print(f'\npicture: {path}')
  return 0


def file_name(options: argparse.Namespace, overrides: Sequence[str]) -> str:
  """Returns a name such as 'rope-rope.base=500000', so that other options get another file."""
  name = Path(options.name).name.replace('.py', '')
  given = [text.removeprefix('--config.').removeprefix('encoding.') for text in overrides]
  given += [f'grid={",".join(map(str, options.grid))}'] if options.grid else []
  given += [options.weights] if options.weights != 'initial' else []
  return re.sub(r'[^\w.+=,@-]', '-', '-'.join([name, *given]))[:200]


def gallery(options: argparse.Namespace, overrides: Sequence[str], argv: list[str]) -> int:
  """Writes the page. An encoding that fails becomes a line on the page and on standard error."""
  from posjax.show import page

  entries, failed = [], {}
  with tqdm.tqdm(everything(), unit='encoding') as bar:
    for name in bar:
      bar.set_description(name)
      command = shlex.join([*PROGRAM.split(), name, *overrides])
      try:
        entries.append(page.entry(name, command, look(name, overrides, options.weights)))
      except Exception as error:  # an encoding may raise anything
        failed[name] = one_line(f'{type(error).__name__}: {error}')
  options.out.mkdir(parents=True, exist_ok=True)
  path = options.out / 'index.html'
  files.replace(path, page.render(entries, failed, made_with(argv)))
  print(f'page: {path}, {len(entries)} encodings and configs')
  for name, message in failed.items():
    program.fail(1, f'{name}: {message}')
  return 1 if failed else 0


def everything() -> list[str]:
  """Returns the names of all configs, and of all encodings without a config."""
  from posjax import encodings

  return sorted({*config_lib.available(), *encodings.names()})


def made_with(argv: list[str]) -> tuple[str, str]:
  """Returns lines with the command, the date and the versions that produced the page."""
  from posjax import run_summary

  found = {name: importlib.metadata.version(name) for name in PACKAGES[1:]}
  versions = ', '.join(f'{name} {version}' for name, version in found.items())
  return (
    f'{PROGRAM} {shlex.join(argv)}',
    f'{datetime.date.today()}, posjax {run_summary.code_version()}, '
    f'Python {platform.python_version()}, {versions}',
  )


def main(argv: list[str]) -> int:
  return program.run_program(lambda: show(argv))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
