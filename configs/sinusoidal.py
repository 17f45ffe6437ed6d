"""Sinusoidal (Vaswani et al. 2017, arXiv 1706.03762).

`python -m posjax.main --config=configs/sinusoidal.py`, a CPU core, 2026-11-30: 71 s
on a busy machine, 2.63 ± 0.02 bits per byte at 64 bytes, 4.59 ± 0.35 at 512
(three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('sinusoidal',),
    sinusoidal=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      layout='interleaved',  # sin, cos, sin, cos; or 'half', 'tensor2tensor'
      scaled=False,  # True: multiply the table by a learned number
      offset=0,  # the first position; 2 in fairseq's models
    ),
  )
  return config
