"""ComRoPE (Yu et al. 2025, arXiv 2506.03737)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('comrope',),
    comrope=dict(
      kind='ld',  # every block reads all axes; 'ap': each block reads one
      block=8,  # channels that a matrix rotates
      unit=float(config.train.length),  # positions of length 1; 1 if the data has them in [0, 1]
      deviation=1.0,  # of the first generators
    ),
  )
  return config
