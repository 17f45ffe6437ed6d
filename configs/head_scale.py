"""NoPE with a scale of each head (Wang et al. 2024, arXiv 2404.12224).

`python -m posjax.main --config=configs/head_scale.py`
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('head_scale',),
    head_scale=dict(
      start=1.0,  # the scale before training
    ),
  )
  return config
