"""Untied positions (TUPE-R, Ke et al. 2021, arXiv 2006.15595).

`python -m posjax.main --config=configs/tupe.py`, 2026-12-01: 2.31 bits per byte at 64 bytes, 4.56
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('tupe',),
    tupe=dict(
      length=512,  # rows of the table, one per position
      buckets=32,  # of T5's bias; 0: no bias (TUPE-A)
      max_distance=128,  # this and larger distances share the last bucket
      bidirectional=False,  # True: buckets for later keys; an encoder always has them
      untie_first=False,  # True: remove the position of the first token, [CLS]
    ),
  )
  return config
