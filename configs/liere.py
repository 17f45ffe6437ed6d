"""LieRE (Ostmeier et al. 2024, arXiv 2406.10322)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('liere',),
    liere=dict(
      block=8,  # channels that a matrix rotates
      unit=float(config.train.length),  # positions of length 1; 1 if the data has them in [0, 1]
    ),
  )
  return config
