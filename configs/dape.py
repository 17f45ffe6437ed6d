"""DAPE (Zheng et al. 2024, arXiv 2405.14722).

`python -m posjax.main --config=configs/dape.py`, two CPU cores, 2026-11-22: 3 minutes,
2.21 ± 0.04 bits per byte at 64 bytes, 2.16 ± 0.04 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('dape',),
    dape=dict(
      base='kerple',  # the bias that is refined; or 'alibi', 'fire'
      width=32,  # of the hidden layer
      arguments={},  # of the base, such as dict(bias_max=4.0) of 'alibi'
    ),
  )
  return config
