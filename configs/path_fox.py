"""PaTH with forget gates (PaTH-FoX, Yang et al. 2025, arXiv 2505.16381).

`python -m posjax.main --config=configs/path_fox.py`, 2026-12-01: 2.25 bits per byte at 64 bytes,
2.20 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('path_fox',),
    path_fox=dict(
      rank=32,  # of the projection that gives the reflections
      bias=0.0,  # initial bias of gates: 0 halves the weight at each token
    ),
  )
  return config
