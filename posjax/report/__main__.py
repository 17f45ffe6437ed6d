"""Writes a page with the results of experiments, from the folders that posjax.sweep wrote.

  python -m posjax.report runs/sweeps/alibi
  python -m posjax.report runs/sweeps/alibi runs/sweeps/fox --out=runs/report

index.html has everything and loads nothing; report.md has the same tables. tables/ has each table
as CSV and LaTeX (package booktabs), figures/ has each figure as SVG and PDF. The same results give
the same files. Runs that are not done are named, and left out.

Exit codes: 0 done; 2 a mistake in the command line, or a folder without results.
"""

# ruff: noqa: E402  (`begin` runs before the slow imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import argparse
import importlib.metadata
import shlex
import sys
from pathlib import Path

from posjax.report import claims, formats, markdown, page, read
from posjax.report import sections as sections_lib
from posjax.runtime import files

PROGRAM = 'python -m posjax.report'
PACKAGES = 'posjax', 'numpy', 'scipy', 'matplotlib'


def parse(argv: list[str]) -> argparse.Namespace:
  """Returns the options of a command line. Raises UserError if it is invalid."""
  parser = program.Parser(PROGRAM, __doc__)
  parser.add_argument(
    'folders', nargs='+', metavar='FOLDER', type=program.folder('FOLDER'), help='of a sweep'
  )
  parser.add_argument(
    '--out', type=program.folder('--out'),
    help='folder of the page; by default FOLDER/report, of several folders runs/report',
  )
  return parser.parse_args(argv)


def report(options: argparse.Namespace) -> int:
  """Writes all files; returns the exit code."""
  folders = options.folders
  out = options.out or (folders[0] / 'report' if len(folders) == 1 else Path('runs/report'))
  sweeps = read.load_all(folders)
  for name in ('figures', 'tables'):
    (out / name).mkdir(parents=True, exist_ok=True)
  found = sections_lib.sections(sweeps, out / 'figures')
  summary = claims.summary(sweeps, {each.sweep.name: each.best for each in found})
  command = shlex.join([*PROGRAM.split(), *map(str, folders), f'--out={out}'])
  versions = ', '.join(f'{name} {importlib.metadata.version(name)}' for name in PACKAGES)
  made_with = f'Made by: {command}', f'With {versions}'
  files.replace(out / 'index.html', page.render(found, summary, made_with))
  files.replace(out / 'report.md', markdown.render(found, summary, made_with, out))
  for table in [summary, *(table for each in found for table in each.tables)]:
    files.replace(out / 'tables' / f'{table.name}.csv', formats.to_csv(table))
    files.replace(out / 'tables' / f'{table.name}.tex', formats.to_latex(table))
  print(f'page:     {out / "index.html"}\nmarkdown: {out / "report.md"}')
  print(f'tables:   {out / "tables"}, CSV and LaTeX\nfigures:  {out / "figures"}, SVG and PDF')
  again = next(sections_lib.commands(sweeps[0]))
  print(f'next:     {again}  # runs what is missing; then: {command}')
  return 0


def main(argv: list[str]) -> int:
  return program.run_program(lambda: report(parse(argv)))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
