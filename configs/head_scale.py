"""NoPE with a learned scale per head (Wang et al. 2024, arXiv 2404.12224).

`python -m posjax.main --config=configs/head_scale.py`, 2026-12-01: 3.07 bits per byte at 64 bytes,
3.46 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('head_scale',),
    head_scale=dict(
      start=1.0,  # initial scale
    ),
  )
  return config
