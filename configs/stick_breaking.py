"""Stick-breaking attention (Tan et al. 2025, arXiv 2410.17980).

`python -m posjax.main --config=configs/stick_breaking.py`, two CPU cores, 2026-11-22: a minute,
2.15 ± 0.04 bits per byte at 64 bytes, 2.10 ± 0.05 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('stick_breaking',),
    stick_breaking=dict(
      remainder=True,  # what is left goes to the token's own value; False: it is lost
    ),
  )
  return config
