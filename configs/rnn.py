"""A recurrent baseline without positions: a plain recurrent network (Elman 1990).

`python -m posjax.main --config=configs/rnn.py`: see docs/results.md.
"""

from configs import lstm


def get_config(size='tiny'):
  config = lstm.get_config(size)
  config.model.layer = 'rnn'
  return config
