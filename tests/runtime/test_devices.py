"""The table of accelerators: JAX's names find rows; devices without a row have no figures."""

import collections
import types

import jax
import pytest

from posjax.errors import UserError
from posjax.runtime import devices
from posjax.runtime.devices import ACCELERATORS


def test_every_row_is_complete_and_every_kind_has_one():
  for name, row in ACCELERATORS.items():
    assert 2**33 < row.memory < 2**38 and 1e14 < row.flops['bfloat16'] < 1e16, name
    assert 2**39 < row.bandwidth < 1e13 and row.source.startswith('https://'), name
    assert set(row.flops) == {'bfloat16'} | ({'float32'} if 'NVIDIA' in row.kinds[0] else set())
  kinds = collections.Counter(kind for row in ACCELERATORS.values() for kind in row.kinds)
  assert set(kinds.values()) == {1}


@pytest.mark.parametrize('kind, name', [
  ('TPU v4', 'v4'), ('TPU v5 lite', 'v5e'), ('TPU v5', 'v5p'), ('TPU v6 lite', 'v6e'),
  ('TPU7x', 'tpu7x'), ('NVIDIA A100-SXM4-80GB', 'a100'), ('NVIDIA H200', 'h200'),
])
def test_a_device_kind_is_recognized(kind, name):
  assert devices.of_kind(kind) is devices.find(name)


@pytest.mark.parametrize('kind', ['cpu', 'TPU v3', 'TPU v4 lite', 'NVIDIA H100 PCIe', ''])
def test_other_devices_have_no_row(kind):
  """An H100 in a PCIe slot is slower; a wrong figure is worse than no figure."""
  assert devices.of_kind(kind) is None


@pytest.mark.parametrize('kinds, dtype, peak', [
  (['TPU7x'] * 2, 'bfloat16', 2307e12),  # one chip
  (['TPU v5 lite'] * 8, 'bfloat16', 8 * 197e12),
  (['TPU v5 lite'], 'float32', None),
  (['NVIDIA H200'], 'float32', 494.7e12),
  (['NVIDIA H200', 'NVIDIA H100 PCIe'], 'bfloat16', None),
])
def test_the_peak_of_all_devices_together(kinds, dtype, peak, monkeypatch):
  running = [types.SimpleNamespace(device_kind=kind) for kind in kinds]
  monkeypatch.setattr(jax, 'devices', lambda: running)
  assert devices.peak_flops(dtype) == peak


def test_a_cpu_has_no_peak():
  assert devices.peak_flops('float32') is None


def test_no_such_device():
  with pytest.raises(UserError) as error:
    devices.find('v5')
  said = str(error.value)
  assert said.startswith('--device=v5: ') and 'did you mean v5p?' in said
  assert 'must be one of v4, v5e, v5p, v6e, tpu7x, a100, h100, h200, b200' in said
