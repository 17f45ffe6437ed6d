"""ALiBi (Press et al. 2021, arXiv 2108.12409)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('alibi',),
    alibi=dict(bias_max=8.0),  # the gentlest slope is 2^-bias_max
  )
  return config
