"""Accelerators: their memory, and the speed that they can have at most.

A row is one device as JAX counts them (a chip of TPU7x is two). Peaks are dense, without sparsity.
On these GPUs JAX multiplies float32 in TF32 (jax.lax.Precision.DEFAULT), so that peak stands under
'float32'; Google publishes none for TPUs. Memory is the capacity; the runtime keeps a part of it.

Figures of TPUs are Google's; those of GPUs are NVIDIA's, as the named pages quote them, which give
dense and sparse peaks apart. All pages were read on 2026-11-30.
"""

from typing import NamedTuple

from posjax.errors import UserError, one_of

CLOUD = 'https://docs.cloud.google.com/tpu/docs/'
QUOTED = 'https://glennklockwood.com/garden/processors/'


class Accelerator(NamedTuple):
  """One device: bytes of memory, peak FLOP/s by dtype, and memory bandwidth in bytes/s."""

  memory: int
  flops: dict[str, float]
  bandwidth: float
  kinds: tuple[str, ...]  # what jax.Device.device_kind calls it
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


def find(name):
  """The accelerator of a name such as 'v5e'. Raises UserError for any other name."""
  if name not in ACCELERATORS:
    raise UserError(f'--device={name}: {one_of(name, ACCELERATORS)}')
  return ACCELERATORS[name]


def of_kind(kind):
  """The accelerator that JAX calls `kind`, or None: a CPU, or one that is not in the table."""
  return next((row for row in ACCELERATORS.values() if kind in row.kinds), None)


def peak_flops(dtype):
  """FLOP/s in `dtype` ('bfloat16', 'float32') of all running devices together; None: unknown."""
  import jax  # not above: command lines are judged without it

  rows = [of_kind(device.device_kind) for device in jax.devices()]
  peaks = [row.flops.get(dtype) if row else None for row in rows]
  return None if None in peaks else sum(peaks)
