"""Meshes of the devices that conftest.py simulates."""

import jax

from posjax import sharding


def mesh_of(data=1, fsdp=1, tensor=1, seq=1):
  """Returns a mesh of these sizes on the first devices."""
  devices = jax.devices()[: data * fsdp * seq * tensor]
  return sharding.make_mesh(devices, data=data, fsdp=fsdp, seq=seq, tensor=tensor)
