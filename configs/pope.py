"""PoPE (Gopalakrishnan et al. 2025, arXiv 2509.10534).

`python -m posjax.main --config=configs/pope.py`, 2026-12-01: 2.33 bits per byte at 64 bytes, 3.02
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('pope',),
    pope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      uniform_delta=False,  # True: the learned phases start at random, not at 0
    ),
  )
  return config
