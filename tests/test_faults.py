"""Injects every fault of support/faults.py once: the real program loses nothing."""

import pytest

from tests.support.faults import FAULTS
from tests.support.several import Hosts


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
  return Hosts(tmp_path_factory.mktemp('lab'))


@pytest.mark.slow
@pytest.mark.parametrize('name', FAULTS)
def test_no_fault_loses_saved_results(lab, name, capsys):
  tried = FAULTS[name](lab)
  if not tried:
    pytest.skip('no disk can be mounted here')
  with capsys.disabled():
    print(f'\n{name}: tried {tried}')
