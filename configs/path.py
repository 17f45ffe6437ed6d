"""PaTH (Yang et al. 2025, arXiv 2505.16381).

`python -m posjax.main --config=configs/path.py`, two CPU cores, RESULT
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
