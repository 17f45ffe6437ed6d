"""PaTH (Yang et al. 2025, arXiv 2505.16381).

`python -m posjax.main --config=configs/path.py`, a CPU core, 2026-11-30: 198 s on a busy machine,
2.35 ± 0.03 bits per byte at 64 bytes, 2.34 ± 0.02 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('path',),
    path=dict(
      rank=32,  # of the projection that gives the reflections
    ),
  )
  return config
