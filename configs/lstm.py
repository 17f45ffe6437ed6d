"""A recurrent baseline without positions: a LSTM (Hochreiter and Schmidhuber 1997).

`python -m posjax.main --config=configs/lstm.py`

Three layers of width 64 have about as many weights as the two layers of the tiny Transformer.
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(layers=('nope',))
  config.model.layer = 'lstm'
  if size == 'tiny':
    config.model.layers = 3
  return config
