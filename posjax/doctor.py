"""Checks the packages, devices and folders of this installation, and says how to repair them.

  python -m posjax.doctor

Exit codes: 0 a run can start; 2 something must be repaired first.
"""

# ruff: noqa: E402  (`begin` runs before the slow imports)
from posjax.runtime import program

if __name__ == '__main__':
  program.begin()

import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

from posjax.errors import UserError, one_line

PROGRAM = 'python -m posjax.doctor'


class Finding(NamedTuple):
  """One line of the report: an item, its status, and a remedy if the status is insufficient."""

  what: str
  found: str
  remedy: str = ''
  needed: bool = True  # by a training run


def packages() -> Iterator[Finding]:
  """Yields the packages that setup.py requires; those of extras are not needed."""
  for asked in map(Requirement, importlib.metadata.requires('posjax') or ()):
    if asked.extras:  # jax itself, for other devices
      continue
    extra = re.search(r'extra == "(\w+)"', str(asked.marker))
    label = f'{asked.name}, extra {extra[1]}' if extra else asked.name
    try:
      version = importlib.metadata.version(asked.name)
    except importlib.metadata.PackageNotFoundError:
      version = 'not installed'
    fits = version[0].isdigit() and asked.specifier.contains(version)
    remedy = '' if fits else f"pip install '{asked.name}{asked.specifier}'"
    yield Finding(label, f'{version}, of {asked.specifier or "any"}', remedy, not extra)


def devices() -> Iterator[Finding]:
  """Yields the devices that jax finds, with their memory."""
  try:
    import jax

    from posjax.runtime import memory

    memory.check_devices()
    kinds = sorted({device.device_kind for device in jax.devices()})
    size = memory.device_memory() / memory.GIB
    yield Finding(
      'devices', f'{jax.device_count()} x {" and ".join(kinds)}, {size:.1f} GiB each'
    )
  except (ImportError, UserError) as error:
    yield Finding('devices', 'none', one_line(error))


def folders() -> Iterator[Finding]:
  """Yields the folders that a run writes to."""
  cache = os.environ.get('JAX_COMPILATION_CACHE_DIR', '~/.cache/posjax')
  places = {
    'runs': ('runs', 'choose another with --workdir'),
    'compiled programs': (cache, 'set JAX_COMPILATION_CACHE_DIR to a folder that can be written'),
    'prepared datasets': ('~/tensorflow_datasets', 'choose another with --config.data.directory'),
  }
  for what, (place, remedy) in places.items():
    path = Path(os.path.expanduser(place)).absolute()
    there = next(p for p in (path, *path.parents) if p.exists())
    try:
      with tempfile.TemporaryFile(dir=there):
        yield Finding(what, f'{path} can be written')
    except OSError as error:
      yield Finding(what, f'{path}: {error.strerror}', remedy)


def report(findings: list[Finding]) -> int:
  """Prints a line for each finding, and a verdict; returns the exit code."""
  width = max(len(finding.what) for finding in findings)
  for finding in findings:
    mark = 'ok' if not finding.remedy else 'MISSING' if finding.needed else '-'
    remedy = f'; {finding.remedy}' if finding.remedy else ''
    print(f'{mark:<8}{finding.what:<{width}}  {finding.found}{remedy}')
  missing = [finding.what for finding in findings if finding.remedy and finding.needed]
  print()
  if missing:
    print(f'a run cannot begin: {", ".join(missing)}')
    return 2
  print('next:   python -m posjax.main --config=rope --config.train.steps=60')
  return 0


def main(argv: list[str]) -> int:
  """Returns the exit code."""

  def check() -> int:
    program.Parser(PROGRAM, __doc__).parse_args(argv)
    python = Finding('python', f'{platform.python_version()} at {sys.executable}')
    return report([python, *packages(), *devices(), *folders()])

  return program.run_program(check)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
