"""A recurrent baseline without positions: a GRU (Cho et al. 2014, arXiv 1406.1078).

`python -m posjax.main --config=configs/gru.py`: see docs/results.md.
"""

from configs import lstm


def get_config(size='tiny'):
  config = lstm.get_config(size)
  config.model.layer = 'gru'
  return config
