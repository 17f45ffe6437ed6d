"""NoPE: no positional encoding (Kazemnejad et al. 2023, arXiv 2305.19466)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(layers=('nope',))
  return config
