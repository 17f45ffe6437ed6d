"""Measures differences from the public libraries' numbers in tests/golden, file by file.

  python -m tests.support.differences

Runs the tests that read those files and records each comparison with a file's numbers: the largest
difference, and the largest relative difference (a comparison's largest difference divided by the
largest library number in it). Comparisons in tests/encodings/test_oracles*.py measure the oracles,
which are NumPy loops; all other tests measure the package, some of them oracles too. Comparisons
with numbers that the library rounded to float32 or bfloat16 have their own row. `arrays` counts the
compared arrays of a file, `values` the compared numbers, repeats included.

Exit code 1 if a float64 difference exceeds 1e-9, no test compared a file, or a test failed.
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
# Names of arrays, after their file's name, that the library computed in lower precision.
ROUNDED = re.compile('f32|bf16|marian|roformer|pixel|timm_dinov3|lang_ref')


@dataclasses.dataclass
class Row:
  """Comparisons with one file."""

  arrays: set = dataclasses.field(default_factory=set)
  values: int = 0
  # By kind: the largest difference and the largest relative difference.
  largest: dict = dataclasses.field(default_factory=dict)

  def add(self, keys, kind, ours, theirs):
    self.arrays |= keys
    self.values += theirs.size
    apart = np.abs(ours - theirs).max()
    found = apart, apart / np.abs(theirs).max()
    self.largest[kind] = np.maximum(self.largest.get(kind, 0), found)


def holds(array, numbers):
  """Returns whether the array contains all of these numbers."""
  return array.dtype != np.uint8 and np.isin(numbers, array).all()


class Recorder:
  """A pytest plugin that collects a row per file from the comparisons of tests that read it."""

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
      # An array of zeros cannot be traced to a file.
      if theirs.any():
        self.find(ours, theirs, max(given.get('rtol', 0), given.get('atol', 0)))
      check(*args, **kwargs)

    return note

  def find(self, ours, theirs, tolerance):
    """Records a comparison under the file with an array that holds these numbers in any order."""
    for file, arrays in stored.taken.items():
      # Several arrays may contain them, such as a table and rows read from it: take the likeliest.
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
  """Returns whether a test calls `golden`, itself or through functions of the tests."""
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
  """Prints the table of these files and returns the exit code."""
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
  # Keeps pytest's output apart from the table.
  with contextlib.redirect_stdout(sys.stderr), recorder.listening():
    failed = pytest.main([*tests, '-n0', '-m', ''], plugins=[recorder])
  code = report(recorder.rows, sorted(path.stem for path in stored.FOLDER.glob('*.npz')))
  return int(failed) or code


if __name__ == '__main__':
  sys.exit(main())
