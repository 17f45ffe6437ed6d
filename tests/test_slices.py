"""Meshes over several TPU slices, and over simulated devices that stand for them."""

import dataclasses
import math
import subprocess
import sys

import jax
import pytest

from posjax import sharding
from posjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Chip:
  """Stands for a device, with what JAX reads of it to arrange a mesh."""

  id: int
  slice_index: int
  coords: tuple[int, int, int]
  platform: str
  core_on_chip: int = 0
  process_index: int = 0
  device_kind: str = 'a chip'


def fakes(slices, each, platform='tpu'):
  """Returns devices of several slices, in an order that mixes the slices."""
  return [
    Chip(s * each + i, s, (i % 4, i // 4, 0), platform)
    for i in range(each) for s in range(slices)
  ]


def mesh_of(devices, data, fsdp=1, seq=1, tensor=1):
  return sharding.make_mesh(devices, data=data, fsdp=fsdp, seq=seq, tensor=tensor)


@pytest.mark.parametrize('slices, each, shape', [
  (2, 8, (2, 2, 4, 1)), (2, 8, (4, 4, 1, 1)), (4, 4, (8, 1, 1, 2)), (2, 8, (-1, 2, 2, 1)),
])
def test_data_alone_crosses_slices(slices, each, shape):
  """Devices that differ along another axis are in the same slice; each slice has equal data."""
  devices = fakes(slices, each)
  mesh = mesh_of(devices, *shape)
  of_data = mesh.devices.reshape(mesh.shape['data'], -1)
  homes = [{device.slice_index for device in row} for row in of_data]
  assert [len(home) for home in homes] == [1] * len(homes)
  assert [min(home) for home in homes] == sorted([*range(slices)] * (len(homes) // slices))
  assert {device.id for device in of_data.flat} == {device.id for device in devices}
  assert mesh.axis_names == sharding.MESH_AXES
  assert {*mesh.axis_types} == {jax.sharding.AxisType.Auto}


@pytest.mark.parametrize('slices, shape, valid', [(2, (1, 8, 2), 2), (4, (6, 4, 1), 8)])
def test_data_that_slices_do_not_divide_is_refused(slices, shape, valid):
  with pytest.raises(UserError) as error:
    mesh_of(fakes(slices, math.prod(shape) // slices), *shape)
  assert str(error.value) == (
    f'mesh.data = {shape[0]}: must be a multiple of the {slices} slices, since no other axis '
    f'crosses slices, such as {valid}'
  )


def test_nodes_of_other_devices_are_no_slices():
  """JAX numbers GPU nodes as slices, but fsdp and seq may cross them."""
  assert sharding.count_slices(fakes(2, 8)) == 2
  assert sharding.count_slices(fakes(2, 8, 'gpu')) == sharding.count_slices(jax.devices()) == 1


def dry_run(*line):
  """Returns exit code, lines and errors of a dry run in a process of its own."""
  done = subprocess.run(
    [sys.executable, '-m', 'posjax.main', '--config=nope', '--dry_run', '--device=v5e', *line],
    capture_output=True, text=True, check=False,
  )
  return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.slow
def test_a_dry_run_for_more_devices_than_the_machine_has():
  line = '--devices=2x6', '--config.mesh.fsdp=2', '--config.train.batch=12'
  _, said, _ = dry_run(*line)
  assert said[3] == 'mesh        data 6, fsdp 2, seq 1, tensor 1'
  assert any(line.startswith('verdict     fits: v5e has 16.00 GiB') for line in said)
  assert any(' between nodes or slices at 3.12 GB/s, on paper' in line for line in said)


def test_a_mesh_that_does_not_divide_is_one_line():
  code, said, error = dry_run('--devices=3', '--config.mesh.data=1', '--config.mesh.fsdp=2')
  assert (code, said) == (2, []) and error.count('\n') == 1
  assert '2 devices, but the machine has 3' in error
