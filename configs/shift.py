"""SHAPE (Kiyono et al. 2021, arXiv 2109.05644): shifted positions for sinusoids.

`python -m posjax.main --config=configs/shift.py`, 2026-12-01: 3.09 bits per byte at 64 bytes, 3.63
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('shift+sinusoidal',),
    shift=dict(
      offsets=500,  # K: each row shifts by a random 0 .. K-1; by K outside of training
    ),
    sinusoidal=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      layout='interleaved',  # sin, cos, sin, cos; or 'half', 'tensor2tensor'
    ),
  )
  return config
