"""A recurrent baseline without positions: a GRU (Cho et al. 2014, arXiv 1406.1078).

`python -m posjax.main --config=configs/gru.py`

Three layers of width 64 have about as many weights as the two layers of the tiny Transformer.
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(layers=('nope',))
  config.model.layer = 'gru'
  if size == 'tiny':
    config.model.layers = 3
  return config
