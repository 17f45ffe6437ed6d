"""Untied positions (TUPE-R, Ke et al. 2021, arXiv 2006.15595).

`python -m posjax.main --config=configs/tupe.py`, two CPU cores, 2026-11-22: 68 s on a busy machine,
2.19 bits per byte at 64 bytes, 4.57 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('tupe',),
    tupe=dict(
      length=512,  # positions that have a row
      buckets=32,  # of T5's bias; 0: none, TUPE-A
      max_distance=128,  # from which on all distances share the last bucket
      bidirectional=False,  # True: keys after the query have buckets of their own
      untie_first=False,  # True: the first token has no place in the eyes of the others
    ),
  )
  return config
