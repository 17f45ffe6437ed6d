"""KERPLE (Chi et al. 2022, arXiv 2205.09921).

`python -m posjax.main --config=configs/kerple.py`, two CPU cores, 2026-11-22: a minute,
2.32 ± 0.14 bits per byte at 64 bytes, 2.29 ± 0.17 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('kerple',),
    kerple=dict(
      kernel='log',  # or 'power', 'log3', 'weighted'
    ),
  )
  return config
