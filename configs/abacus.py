"""Abacus (McLeish et al. 2024, arXiv 2405.17399), and FIRE in attention.

`python -m posjax.main --config=configs/abacus.py`, 2026-12-01: 2.34 bits per byte at 64 bytes, 2.43
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('abacus+fire',),
    abacus=dict(
      digits=tuple(b'0123456789'),  # tokens that are digits; numbers begin with their last digit
      length=1024,  # rows of the table
      max_offset=99,  # in training the first digit uses a random row of 1 .. 1 + max_offset
      stddev=0.02,  # of the table's initial values
    ),
    fire=dict(
      length=512,  # initial L; the denominator is psi(max(L, i))
      width=32,  # of the network's hidden layer
      shared=False,  # True: one network for all layers (FIRE-S)
    ),
  )
  return config
