"""T5 bias on each axis of positions (Raffel et al. 2020, arXiv 1910.10683); on a line T5's."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('t5_nd',),
    t5_nd=dict(
      buckets=32,  # of distances on each axis; half of them have one distance each
      max_distance=128,  # this and larger distances share the last bucket
    ),
  )
  return config
