"""CAPE (Likhomanenko et al. 2021, arXiv 2106.03143): augmented positions under sinusoids.

`python -m posjax.main --config=configs/cape.py`, two CPU cores, 2026-11-22: 81 s on a busy machine,
2.55 bits per byte at 64 bytes, 4.67 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('cape+sinusoidal',),
    cape=dict(
      global_shift=5.0,  # a row moves by that much at most, to either side
      local_shift=0.5,  # and each of its positions by that much
      max_scale=1.03,  # and all are stretched, or squeezed, by this factor at most
      normalize=False,  # True: the mean of all positions is taken off first
    ),
    sinusoidal=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi base
      layout='interleaved',  # sin, cos, sin, cos; or 'half', 'tensor2tensor'
    ),
  )
  return config
