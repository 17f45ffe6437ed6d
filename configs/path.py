"""PaTH (Yang et al. 2025, arXiv 2505.16381).

`python -m posjax.main --config=configs/path.py`, two CPU cores, 2026-11-22: 2 minutes,
2.25 ± 0.02 bits per byte at 64 bytes, 2.24 ± 0.02 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('path',),
    path=dict(
      rank=32,  # of the projection from which the reflections are made
    ),
  )
  return config
