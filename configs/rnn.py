"""A recurrent baseline without positions: a plain recurrent network (Elman 1990).

`python -m posjax.main --config=configs/rnn.py`

Three layers of width 64 have about as many weights as the two layers of the tiny Transformer.
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(layers=('nope',))
  config.model.layer = 'rnn'
  if size == 'tiny':
    config.model.layers = 3
  return config
