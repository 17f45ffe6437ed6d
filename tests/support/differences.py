"""How far this code is from the numbers of public libraries in tests/golden, file by file.

  python -m tests.support.differences

Runs the tests that read those files, and notes each comparison that they make with a file's
numbers: the largest difference, and the largest relative one, which is a comparison's largest
difference over the largest of the library's numbers in it. Comparisons of tests/test_oracles*.py
are of the oracles, in loops of NumPy; those of all other tests are of the package, and of oracles
beside it. Where the library itself has rounded to float32 or bfloat16, they are counted apart.
`arrays` are those of the file that were compared, `values` their numbers, each time they were.

Ends with 1 if a difference in float64 is more than 1e-9, if a file was compared by no test, or if a
test failed.
"""

import collections
import contextlib
import dataclasses
import inspect
import json
import re
import sys
from unittest import mock

import numpy as np
import pytest

from tests.support import stored

LIMIT = 1e-9
KINDS = ('oracles', 'posjax', 'rounded')
# Names of arrays, with their file's before it, that passed through fewer digits in the library.
ROUNDED = re.compile('f32|bf16|marian|roformer')


@dataclasses.dataclass
class Row:
  """What one file was compared with."""

  arrays: set = dataclasses.field(default_factory=set)
  values: int = 0
  # By kind, the largest difference and the largest relative one.
  largest: dict = dataclasses.field(default_factory=dict)

  def add(self, keys, kind, ours, theirs):
    self.arrays |= keys
    self.values += theirs.size
    apart = np.abs(ours - theirs).max()
    found = apart, apart / np.abs(theirs).max()
    self.largest[kind] = np.maximum(self.largest.get(kind, 0), found)


def holds(array, numbers):
  """Whether all of these are among the array's."""
  return array.dtype != np.uint8 and np.isin(numbers, array).all()


class Recorder:
  """A plugin of pytest: the rows of all files, from the comparisons of the tests that read them."""

  def __init__(self):
    self.rows, self.kind = collections.defaultdict(Row), 'posjax'

  def pytest_collection_modifyitems(self, items):
    items[:] = [item for item in items if reads(item.function)]

  @pytest.hookimpl(tryfirst=True)
  def pytest_runtest_setup(self, item):
    stored.taken.clear()
    self.kind = 'oracles' if item.path.name.startswith('test_oracles') else 'posjax'

  @contextlib.contextmanager
  def listening(self):
    with contextlib.ExitStack() as stack:
      for name in ('assert_allclose', 'assert_array_equal'):
        stack.enter_context(mock.patch.object(np.testing, name, self.noting(name)))
      yield

  def noting(self, name):
    check = getattr(np.testing, name)
    signature = inspect.signature(check)

    def note(*args, **kwargs):
      given = signature.bind(*args, **kwargs).arguments
      ours, theirs = map(np.asarray, args[:2])
      # Zeros alone do not say where they are from.
      if theirs.any():
        self.find(ours, theirs, max(given.get('rtol', 0), given.get('atol', 0)))
      check(*args, **kwargs)

    return note

  def find(self, ours, theirs, tolerance):
    """A comparison is with a file if one of its arrays has these numbers, in whatever order."""
    for file, arrays in stored.taken.items():
      # Several may have them, such as a table and what was read from it: the likeliest counts.
      distance = {
        key: (not np.may_share_memory(array, theirs), array.size != theirs.size, array.size)
        for key, array in arrays.items() if holds(array, theirs)
      }
      keys = {key for key in distance if distance[key] == min(distance.values())}
      if keys:
        rounded = tolerance > 10 * LIMIT and any(ROUNDED.search(f'{file}/{key}') for key in keys)
        kind = 'rounded' if rounded else self.kind
        self.rows[file].add(keys, kind, np.float64(ours), np.float64(theirs))


def reads(function, known=()):
  """Whether a test calls `golden`, itself or by what it calls of the tests' own."""
  codes = [function.__code__]
  for code in codes:
    codes += filter(inspect.iscode, code.co_consts)  # functions within it
  names = {name for code in codes for name in code.co_names}
  called = [function.__globals__[name] for name in names & function.__globals__.keys()]
  own = [inner for inner in called if inspect.isfunction(inner) and inner not in known and
         inner.__code__.co_filename.startswith(str(stored.FOLDER.parent))]
  return any(inner is stored.golden or reads(inner, (*known, function)) for inner in own)


def library(file):
  with np.load(stored.FOLDER / f'{file}.npz') as arrays:
    meta = json.loads(bytes(arrays['meta_json']))
  names = [meta['library']] if 'library' in meta else meta.get('repositories', meta)
  return ', '.join(name for name in names if name not in ('torch', 'note'))


def report(rows, files):
  """Prints the table of these files; returns the exit code."""
  print(f'{"file":25} {"library":40} {"arrays":>6} {"values":>6}', end='')
  print(''.join(f' {kind:>9} relative' for kind in KINDS))
  for file in files:
    row = rows.get(file, Row())
    print(f'{file:25} {library(file):40} {len(row.arrays):6} {row.values:6}', end='')
    print(''.join(
      ' {:9.1e} {:8.1e}'.format(*row.largest[kind]) if kind in row.largest else f'{"-":>10}{"-":>9}'
      for kind in KINDS
    ))
  exact = [row.largest[kind] for row in rows.values() for kind in KINDS[:2] if kind in row.largest]
  within = all((largest <= LIMIT).all() for largest in exact)
  missing = [file for file in files if file not in rows]
  print(f'{len(files)} files; all differences in float64 are at most {LIMIT:g}: ', end='')
  print(f'{"yes" if within else "no"}; compared by no test: {", ".join(missing) or "none"}')
  return int(not within or bool(missing))


def main():
  recorder, folder = Recorder(), stored.FOLDER.parent
  named = lambda path: 'tests.support.stored' in path.read_text()
  tests = [*map(str, filter(named, folder.rglob('test_*.py')))]
  # What pytest says goes apart from the table.
  with contextlib.redirect_stdout(sys.stderr), recorder.listening():
    failed = pytest.main([*tests, '-n0', '-m', ''], plugins=[recorder])
  code = report(recorder.rows, sorted(path.stem for path in stored.FOLDER.glob('*.npz')))
  return int(failed) or code


if __name__ == '__main__':
  sys.exit(main())
