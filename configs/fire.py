"""FIRE (Li et al. 2024, arXiv 2310.04418).

`python -m posjax.main --config=configs/fire.py`, two CPU cores, 2026-11-22: a minute,
2.26 ± 0.03 bits per byte at 64 bytes, 2.38 ± 0.08 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('fire',),
    fire=dict(
      length=512,  # L at the start: below it positions are no longer shares of the query's
      width=32,  # of the hidden layer
      shared=False,  # True: one network for all layers (FIRE-S)
    ),
  )
  return config
