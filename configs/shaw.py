"""Relative keys and values (Shaw et al. 2018, arXiv 1803.02155).

`python -m posjax.main --config=configs/shaw.py`, a CPU core, 2026-11-30: 111 s on a busy machine,
2.29 ± 0.02 bits per byte at 64 bytes, 2.27 ± 0.01 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('shaw',),
    shaw=dict(
      clip=16,  # larger distances are clipped to it
      with_values=True,  # False: relative keys only
      with_queries=False,  # True: keys times the vectors, too, not only queries
    ),
  )
  return config
