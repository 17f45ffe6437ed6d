"""The records and the report of tests/support/differences.py."""

import numpy as np
import pytest

from tests.support import stored
from tests.support.differences import Recorder, reads, report
from tests.support.stored import golden

WANT = np.array([[0.5, -4.0, 1.0], [0.25, 3.0, 8.0]])


@pytest.fixture
def recorder(monkeypatch):
  """A recorder that listens to a test that has read two files."""
  files = {
    'alibi': {'bias': WANT, 'slopes_f32': np.float32([0.1, 0.2]), 'x': np.arange(7.0),
              'meta_json': np.frombuffer(b'{}', np.uint8)},
    'cope': {'bias': np.array([2.5])},
  }
  monkeypatch.setattr(stored, 'taken', files)
  recorder = Recorder()
  with recorder.listening():
    yield recorder


def test_a_comparison_is_measured(recorder):
  np.testing.assert_allclose(WANT + [[0, 4e-12, 0], [0, 0, 0]], WANT, 1e-9)
  row = recorder.rows['alibi']
  assert (row.arrays, row.values, [*row.largest]) == ({'bias'}, 6, ['posjax'])
  assert row.largest['posjax'] == pytest.approx([4e-12, 5e-13], rel=1e-3)
  assert [*recorder.rows] == ['alibi']


def test_numbers_are_recognized_in_any_order_and_in_part(recorder):
  recorder.kind = 'oracles'
  np.testing.assert_array_equal(WANT.T[1:], WANT[:, 1:].T.copy())
  row = recorder.rows['alibi']
  assert (row.arrays, row.values, [*row.largest]) == ({'bias'}, 4, ['oracles'])
  assert (row.largest['oracles'] == 0).all()


def test_rows_of_a_table_are_not_mistaken_for_the_table(recorder):
  rows = np.array([0.7, 0.9, 0.7, 0.9, 0.9])
  stored.taken['alibi'] |= {'table': np.array([0.9, 0.7]), 'rows': rows}
  for theirs in (rows.copy(), rows[:2]):
    np.testing.assert_allclose(theirs, theirs)
    assert recorder.rows.pop('alibi').arrays == {'rows'}


def test_other_numbers_and_zeros_match_no_file(recorder):
  np.testing.assert_allclose(WANT + 1e-8, WANT + 1e-9, 1e-6)
  np.testing.assert_allclose(np.zeros(3), np.zeros(3))
  np.testing.assert_array_equal(np.array([ord('{')]), np.array([ord('{')]))  # bytes of a text
  assert not recorder.rows


def test_only_listed_arrays_count_as_rounded(recorder):
  narrow = np.float64(np.float32([0.1, 0.2]))
  np.testing.assert_allclose(np.array([0.1, 0.2]), narrow, 1e-6)
  np.testing.assert_allclose(WANT + 1e-7, WANT, 1e-6)
  largest = recorder.rows['alibi'].largest
  assert largest['rounded'][0] == pytest.approx(3e-9, rel=0.01)
  # A wide tolerance alone excuses nothing.
  assert largest['posjax'][0] == pytest.approx(1e-7)


@pytest.mark.parametrize('planted, code', [(5e-10, 0), (2e-9, 1)])
def test_a_planted_difference_gives_exit_code_1(recorder, planted, code, capsys):
  np.testing.assert_allclose(WANT + [[planted, 0, 0], [0, 0, 0]], WANT, atol=1e-6)
  assert report(recorder.rows, ['alibi']) == code
  said = capsys.readouterr().out
  assert f'{planted:.1e}  {planted / 8:.1e}' in said
  verdict = ('yes', 'no')[code]
  assert said.endswith(
    f'1 files; all differences in float64 are at most 1e-09: {verdict}; compared by no test: none\n'
  )


def test_nan_is_a_large_difference(recorder, capsys):
  with pytest.raises(AssertionError):
    np.testing.assert_allclose(WANT * [np.nan, 1, 1], WANT)
  assert report(recorder.rows, ['alibi']) == 1


def test_a_file_that_no_test_compares_is_named(recorder, capsys):
  np.testing.assert_allclose(WANT, WANT)
  assert report(recorder.rows, ['alibi', 'cope']) == 1
  assert capsys.readouterr().out.endswith('compared by no test: cope\n')


def through():
  return [golden(name) for name in ('alibi', 'cope')]


def test_tests_that_read_a_file_are_found():
  def inner():
    return through()

  assert reads(through) and reads(inner)
  assert not reads(test_a_comparison_is_measured)
