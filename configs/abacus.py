"""Abacus (McLeish et al. 2024, arXiv 2405.17399), and FIRE in attention.

`python -m posjax.main --config=configs/abacus.py`, two CPU cores, 2026-11-22: 76 s
on a busy machine, 2.23 bits per byte at 64 bytes, 2.31 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('abacus+fire',),
    abacus=dict(
      digits=tuple(b'0123456789'),  # tokens that numbers are made of, the last digit first
      length=1024,  # rows of the table
      max_offset=99,  # in training the first digit has one of the rows 1 .. 1 + max_offset
      stddev=0.02,  # of the table at the start
    ),
    fire=dict(
      length=512,  # L at the start: below it positions are no longer shares of the query's
      width=32,  # of the hidden layer
      shared=False,  # True: one network for all layers (FIRE-S)
    ),
  )
  return config
