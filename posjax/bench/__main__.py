"""Measures time and memory of encodings against targets and public programs.

  python -m posjax.bench --pin --peers
  python -m posjax.bench step layer --encodings=rope,alibi --lengths=512 --rounds=3

Cases: step, a training step of 4,096 tokens; layer, the attention of one layer, forward and
backward; decode, 256 tokens after a prompt of 16; start, a cold process up to the end of its first
step; memory, XLA's plans of layers and steps. The default is all cases.

Each subject runs in a separate process, one at a time, in the order A B C C B A …; a ratio is the
median of the rounds' ratios, with quartiles in brackets. Ctrl-C keeps the results so far.

Exit codes: 0 done; 1 something failed; 2 a mistake in the command line, or no device.
"""

# ruff: noqa: E402  (program.begin() must run before the other imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import tqdm

from posjax.bench import processes, shapes, subjects, tables
from posjax.config import validation
from posjax.errors import UserError, one_of
from posjax.runtime import files

PROGRAM = 'python -m posjax.bench'
PACKAGES = ('posjax', 'jax', 'jaxlib', 'flax', 'optax', 'torch', 'transformers', 'x-transformers')


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line. Raises UserError for mistakes in it."""
  parser = program.Parser(PROGRAM, __doc__)
  add = parser.add_argument
  add('cases', nargs='*', metavar='CASE', help=', '.join(subjects.CASES))
  add('--encodings', type=words, help='such as nope,rope+fox; default: all, or rope for start')
  add('--lengths', type=words, help='such as 512,2048; default: the lengths of each case')
  add('--implementations', type=words, default=['auto'], help='such as auto,blockwise')
  add('--dtypes', type=words, default=['float32'], help='float32,bfloat16')
  add('--rounds', default='5', help='number of rounds; each measures every subject once')
  add('--pin', nargs='?', const='', metavar='CORE', help='one core and thread; measure CPU seconds')
  add('--peers', action='store_true', help='also measure public programs that are installed')
  add('--out', type=program.folder('--out'), default=Path('bench'),
      help='folder for bench.json, .md, .png and .log')
  options = parser.parse_args(argv)
  options.cases = options.cases or [*subjects.CASES]
  check('', options.cases, subjects.CASES)
  for name in ('implementation', 'dtype'):
    key = 'attention.implementation' if name == 'implementation' else 'model.dtype'
    check(f'--{name}s=', getattr(options, f'{name}s'), validation.CHOICES[key])
  options.lengths = options.lengths and [positive('lengths', n) for n in options.lengths]
  options.rounds = positive('rounds', options.rounds)
  return options


def words(text: str) -> list[str]:
  return text.split(',')


def check(flag: str, values: Iterable[str], choices: Collection[str]) -> None:
  for value in values:
    if value not in choices:
      raise UserError(f'{flag}{value}: {one_of(value, choices)}')


def positive(flag: str, text: str) -> int:
  if not re.fullmatch('0*[1-9][0-9]{0,6}', text):
    raise UserError(f'--{flag}={text}: must be an integer from 1 to 9,999,999')
  return int(text)


def check_encodings(names: Iterable[str]) -> None:
  """Raises UserError for an unknown encoding, with the nearest name."""
  from posjax.dims import Dims
  from posjax.encodings import build

  dims = Dims(N=shapes.N, K=shapes.N, H=shapes.H, D=shapes.D)
  for name in names:
    build(dims, (name,))


def bench(argv: list[str]) -> int:
  """Runs a command line; returns the exit code."""
  options = parse(argv)
  core = None if options.pin is None else processes.pin(options.pin)
  check_encodings(options.encodings or ())
  groups = subjects.groups(options)
  program.check_devices()
  options.out.mkdir(parents=True, exist_ok=True)
  clock = 'wall' if core is None else 'cpu'
  contents = {**made_with(argv, core), 'rounds': options.rounds, 'clock': clock, 'groups': []}
  texts = [heading(contents)]
  print(texts[0], flush=True)
  rows = []
  visits = sum(len(g) * (1 + turns(g, options.rounds)) for g in groups)
  with (
    (options.out / 'bench.log').open('w') as log, tqdm.tqdm(total=visits, unit='visit') as bar
  ):
    for group in groups:
      measured = visit(group, turns(group, options.rounds), log, bar)
      rows += measured
      table = tables.memory if group[0].case == 'memory' else tables.group
      text, entry = table(measured, clock)
      bar.write(text)
      texts.append(text)
      contents['groups'].append(entry)
      files.replace(options.out / 'bench.json', json.dumps(contents, indent=2) + '\n')
      files.replace(options.out / 'bench.md', '\n'.join(texts))
  drawn = draw(rows, clock, options.out)
  print(f'files: {", ".join(str(options.out / f"bench.{end}") for end in ("json", "md", *drawn))}')
  failed = [row for row in rows if row.error and row.subject.module != 'peers']
  for row in failed:
    program.fail(1, f'{row.subject.case}, {row.subject.label}: {row.error}')
  return 1 if failed else 0


def turns(group: Sequence[subjects.Subject], rounds: int) -> int:
  """Returns how often a group's subjects are timed; memory plans are not timed."""
  return 0 if group[0].case == 'memory' else rounds


def visit(
  group: Sequence[subjects.Subject], rounds: int, log: TextIO, bar: tqdm.tqdm
) -> list[tables.Row]:
  """Returns a `Row` for each subject of a group, after all rounds."""
  rows, about = [], f'{group[0].case} {group[0].length}'
  with contextlib.ExitStack() as stack:
    warm = []
    for subject in group:
      bar.set_description(f'{about}: {subject.label} starts')
      process = stack.enter_context(contextlib.closing(processes.start(subject, log)))
      rows.append(tables.Row(subject, **process.about))
      warm.append((rows[-1], process))
      bar.update()
      if subject.case == 'memory':
        process.close()
    for i in range(rounds):
      for row, process in warm[:: -1 if i % 2 else 1]:
        bar.set_description(f'{about}: {row.subject.label}')
        if not row.error:
          take(row, process.turn())
        bar.update()
  return rows


def take(row: tables.Row, answer: dict[str, Any]) -> None:
  """Adds one round's answer to a row; a failure discards the earlier rounds."""
  if 'error' in answer:
    row.error, row.cpu, row.wall = answer['error'], [], []
  else:
    row.cpu.append(answer['cpu'])
    row.wall.append(answer['wall'])


def made_with(argv: list[str], core: int | None) -> dict[str, Any]:
  """Returns the conditions of the measurement: command, date, versions, machine."""
  from posjax import run_summary

  found = {d.metadata['Name']: d.version for d in importlib.metadata.distributions()}
  return {
    'command': f'{PROGRAM} {shlex.join(argv)}'.strip(),
    'date': datetime.date.today().isoformat(),
    'code': run_summary.code_version(),
    'versions': {name: found[name] for name in PACKAGES[1:] if name in found},
    'python': platform.python_version(),
    'machine': machine(),
    'cores': os.cpu_count(),
    'pinned_to': core,
    'load': os.getloadavg()[0],
  }


def machine() -> str:
  """Returns the name of the processor, or the best name that the system has."""
  info = Path('/proc/cpuinfo')
  names = re.findall(r'model name\s*: (.*)', info.read_text()) if info.exists() else []
  return names[0] if names else platform.processor() or platform.machine()


def heading(c: dict[str, Any]) -> str:
  versions = ', '.join(f'{name} {version}' for name, version in c['versions'].items())
  where = f'{c["cores"]} cores' if c['pinned_to'] is None else 'one core, one thread, CPU seconds'
  return (
    f'{c["machine"]}, {where}, {c["date"]}, load {c["load"]:.1f}; posjax {c["code"]}, {versions}; '
    f'medians of {c["rounds"]}, quartiles in brackets; `{c["command"]}`\n'
  )


def draw(rows: Sequence[tables.Row], clock: str, out: Path) -> list[str]:
  """Draws time and memory by length; returns the suffixes of the written files."""
  from posjax.bench import picture

  lines = picture.lines(rows, clock)
  if lines:
    picture.draw(*lines, out / 'bench.png')
  return ['png'] if lines else []


def main(argv: list[str]) -> int:
  return program.run_program(lambda: bench(argv))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
