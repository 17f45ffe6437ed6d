"""Accelerators: their memory, peak FLOP/s and bandwidths; and simulated devices to plan for.

A row is one JAX device (a TPU7x chip is two). Peaks are dense, without sparsity. On these GPUs JAX
multiplies float32 in TF32 (jax.lax.Precision.DEFAULT), so 'float32' has the TF32 peak; Google
publishes no float32 peak for TPUs. Memory is the capacity; the runtime reserves a part of it.

TPU figures are Google's. GPU figures are NVIDIA's, as quoted by the named pages, which list dense
and sparse peaks separately. All pages were read on 2026-11-30, those of LINKS on 2026-12-01.
"""

import os
from typing import NamedTuple

from posjax.errors import UserError, one_of

CLOUD = 'https://docs.cloud.google.com/tpu/docs/'
QUOTED = 'https://glennklockwood.com/garden/processors/'


class Accelerator(NamedTuple):
  """One device: bytes of memory, peak FLOP/s by dtype, and memory bandwidth in bytes/s."""

  memory: int
  flops: dict[str, float]
  bandwidth: float
  kinds: tuple[str, ...]  # values of jax.Device.device_kind
  source: str


ACCELERATORS = {
  'v4': Accelerator(
    32 * 2**30, {'bfloat16': 275e12}, 1200e9, ('TPU v4',), CLOUD + 'v4',
  ),
  'v5e': Accelerator(
    16 * 2**30, {'bfloat16': 197e12}, 819e9, ('TPU v5 lite', 'TPU v5e'), CLOUD + 'v5e',
  ),
  # The page of tpu7x gives the memory of v5p and v6e in GiB.
  'v5p': Accelerator(
    95 * 2**30, {'bfloat16': 459e12}, 2765e9, ('TPU v5', 'TPU v5p'), CLOUD + 'tpu7x',
  ),
  'v6e': Accelerator(
    32 * 2**30, {'bfloat16': 918e12}, 1638e9, ('TPU v6 lite', 'TPU v6e'), CLOUD + 'tpu7x',
  ),
  # Half a chip: each of its two chiplets is a device.
  'tpu7x': Accelerator(
    192 * 2**30 // 2, {'bfloat16': 2307e12 / 2}, 7380e9 / 2, ('TPU7x',), CLOUD + 'tpu7x',
  ),
  'a100': Accelerator(  # SXM4, 80 GB; data sheet 1758950
    80 * 10**9, {'bfloat16': 312e12, 'float32': 156e12}, 2039e9,
    ('NVIDIA A100-SXM4-80GB',), QUOTED + 'A100',
  ),
  'h100': Accelerator(  # SXM5
    80 * 10**9, {'bfloat16': 989.4e12, 'float32': 494.7e12}, 3350e9,
    ('NVIDIA H100 80GB HBM3',), QUOTED + 'h100',
  ),
  'h200': Accelerator(  # SXM5: an H100 with more and faster memory
    141 * 10**9, {'bfloat16': 989.4e12, 'float32': 494.7e12}, 4800e9,
    ('NVIDIA H200',),
    QUOTED + 'h100, https://github.com/mlcommons/inference_results_v4.1/blob/main/closed/NVIDIA/'
    'systems/H200-SXM-141GBx8_TRT_MaxQ.json, https://aiwiki.ai/wiki/nvidia_h200',
  ),
  'b200': Accelerator(  # HGX, 1,000 W; MLPerf submissions have 180 GB of its 192
    180 * 10**9, {'bfloat16': 2250e12, 'float32': 1100e12}, 8000e9,
    ('NVIDIA B200',),
    QUOTED + 'B200, https://github.com/mlcommons/inference_results_v6.0/blob/main/closed/Nebius/'
    'systems/nebius_b200_n1.json',
  ),
}


class Links(NamedTuple):
  """How fast one device sends, in bytes/s in one direction.

  A TPU sends along one axis of its torus at a time, by that axis's two links.
  """

  near: float  # to devices of its slice, or of its GPU node
  far: float  # to other slices or nodes
  node: int  # devices of a GPU node; 0: a slice, of any size
  source: str


# Only where both figures are published. Google's 'bidirectional' bandwidth counts both directions
# of all links of a chip: four links on a 2-D torus, six on a 3-D torus. The network's bandwidth is
# per pod or per chip.
LINKS = {
  # 400 GB/s bidirectional over 4 links; 6.4 Tbit/s for a pod of 256 chips.
  'v5e': Links(400e9 / 4, 6.4e12 / 8 / 256, 0, CLOUD + 'v5e'),
  # 1,200 GB/s bidirectional over 6 links; 50 Gbit/s a chip.
  'v5p': Links(1200e9 / 6, 50e9 / 8, 0, CLOUD + 'v5p'),
  # 3,200 Gbit/s, in a table where v5e has 1,600: one direction; 25.6 Tbit/s for 256 chips.
  'v6e': Links(3200e9 / 8 / 2, 25.6e12 / 8 / 256, 0, CLOUD + 'v6e'),
  # NVLink: 900 GB/s in both directions; eight 400 Gbit/s InfiniBand cards for eight GPUs.
  'h100': Links(
    900e9 / 2, 400e9 / 8, 8,
    'https://alpha-one-index.github.io/ai-infra-index/specs/networking-interconnects.html, '
    'https://github.com/mlcommons/inference_results_v3.1/blob/main/closed/Dell/systems/'
    'XE9680_H100_SXM_80GBx8_TRT.json',
  ),
}


def simulate(devices: str) -> int:
  """Makes JAX simulate the devices of --devices, 64 or 2x256; returns the number of slices.

  Call it before jax is first imported.
  """
  slices, _, each = devices.rpartition('x')
  flag = f'--xla_force_host_platform_device_count={int(slices or 1) * int(each)}'
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {flag}'.strip()
  os.environ['JAX_PLATFORMS'] = 'cpu'
  return int(slices or 1)


def find(name: str) -> Accelerator:
  """Returns the accelerator of a name such as 'v5e'. Raises UserError for an unknown name."""
  if name not in ACCELERATORS:
    raise UserError(f'--device={name}: {one_of(name, ACCELERATORS)}')
  return ACCELERATORS[name]


def of_kind(kind: str) -> Accelerator | None:
  """Returns the accelerator that JAX calls `kind`; None for a CPU or an unknown accelerator."""
  return next((row for row in ACCELERATORS.values() if kind in row.kinds), None)


def peak_flops(dtype: str) -> float | None:
  """Returns the peak FLOP/s in `dtype`, 'bfloat16' or 'float32', of all devices; None: unknown."""
  import jax  # not above: command lines are checked without jax

  rows = [of_kind(device.device_kind) for device in jax.devices()]
  peaks = [row.flops.get(dtype) if row else None for row in rows]
  return None if None in peaks else sum(peaks)
