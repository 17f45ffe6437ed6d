"""Transformer-XL's relative attention (Dai et al. 2019, arXiv 1901.02860).

`python -m posjax.main --config=configs/transformer_xl.py`, two CPU cores, RESULT
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(layers=('transformer_xl',))
  return config
