"""The doctor: missing requirements and how to install them."""

import importlib.metadata

import pytest

from posjax import doctor


def lines(capsys):
  return capsys.readouterr().out.splitlines()


def test_a_complete_installation_passes(capsys, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert doctor.main([]) == 0
  said = lines(capsys)
  assert said[0].startswith('ok      python ')
  assert any(line.startswith('ok      jax ') for line in said)
  assert any(f'{tmp_path}/runs can be written' in line for line in said)
  assert said[-1] == 'next:   python -m posjax.main --config=rope --config.train.steps=60'
  assert not any(line.startswith('MISSING') for line in said)
  assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(('installed', 'found'), [(None, 'not installed'), ('0.1.0', '0.1.0')])
def test_a_package_that_is_absent_or_old_is_named_with_its_remedy(installed, found, monkeypatch):
  versions = importlib.metadata.version

  def version(name):
    if name not in ('optax', 'pyarrow'):
      return versions(name)
    if installed is None:
      raise importlib.metadata.PackageNotFoundError(name)
    return installed

  monkeypatch.setattr(importlib.metadata, 'version', version)
  by_name = {finding.what: finding for finding in doctor.packages()}
  optax, pyarrow = by_name['optax'], by_name['pyarrow, extra parquet']
  assert optax.found.startswith(f'{found}, of ') and optax.needed and not pyarrow.needed
  assert optax.remedy.startswith("pip install 'optax") and '>=0.2.8' in optax.remedy


def test_missing_requirements_are_printed_last(capsys):
  findings = [
    doctor.Finding('a', 'there'), doctor.Finding('bb', 'not installed', 'pip install bb'),
    doctor.Finding('c', 'not installed', 'pip install c', needed=False),
  ]
  assert doctor.report(findings) == 2
  assert lines(capsys) == [
    'ok      a   there', 'MISSING bb  not installed; pip install bb',
    '-       c   not installed; pip install c', '', 'a run cannot begin: bb',
  ]


def test_a_missing_device_is_one_line(monkeypatch):
  from posjax.errors import UserError
  from posjax.runtime import memory

  def refuse():
    raise UserError('JAX_PLATFORMS=cuda: there is no such device here; unset JAX_PLATFORMS')

  monkeypatch.setattr(memory, 'check_devices', refuse)
  (finding,) = doctor.devices()
  assert (finding.found, finding.needed) == ('none', True)
  assert finding.remedy.startswith('JAX_PLATFORMS=cuda: there is no such device')
