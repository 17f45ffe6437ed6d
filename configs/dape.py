"""DAPE (Zheng et al. 2024, arXiv 2405.14722).

`python -m posjax.main --config=configs/dape.py`, two CPU cores, RESULT
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('dape',),
    dape=dict(
      base='kerple',  # the bias that is refined; or 'alibi', 'fire'
      width=32,  # of the hidden layer
    ),
  )
  return config
