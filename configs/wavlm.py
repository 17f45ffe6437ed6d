"""WavLM's gated relative position bias (Chen et al. 2022, arXiv 2110.13900).

`python -m posjax.main --config=configs/wavlm.py`, 2026-12-01: 2.35 bits per byte at 64 bytes, 3.24
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('wavlm',),
    wavlm=dict(
      buckets=320,  # of distances, half per side; half of those have one distance each
      max_distance=800,  # this and larger distances share the last bucket
    ),
  )
  return config
