"""ALiBi with the distance on a grid (Fuller et al. 2023, arXiv 2311.00566); on a line ALiBi."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('alibi_nd',),
    alibi_nd=dict(
      norm=2,  # Euclidean distance; 1: city-block
      bias_max=8.0,  # the smallest slope is 2^-bias_max
    ),
  )
  return config
