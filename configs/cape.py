"""CAPE (Likhomanenko et al. 2021, arXiv 2106.03143): augmented positions for sinusoids.

`python -m posjax.main --config=configs/cape.py`, 2026-12-01: 2.65 bits per byte at 64 bytes, 4.65
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('cape+sinusoidal',),
    cape=dict(
      global_shift=5.0,  # largest shift of a row, to either side
      local_shift=0.5,  # largest shift of a single position, to either side
      max_scale=1.03,  # largest factor that stretches or compresses a row
      normalize=False,  # True: subtract the mean of all positions first
    ),
    sinusoidal=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      layout='interleaved',  # sin, cos, sin, cos; or 'half', 'tensor2tensor'
    ),
  )
  return config
