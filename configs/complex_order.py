"""Complex-order embeddings (Wang et al. 2020, arXiv 1912.12333), in real numbers.

`python -m posjax.main --config=configs/complex_order.py`, 2026-12-01: 2.75 bits per byte at 64
bytes, 5.61 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('complex_order',),
    complex_order=dict(
      base=10_000.0,  # initial wavelengths run from 2 pi to 2 pi * base
      shared=False,  # True: all words share their frequencies
    ),
  )
  return config
