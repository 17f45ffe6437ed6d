"""Stick-breaking attention (Tan et al. 2025, arXiv 2410.17980).

`python -m posjax.main --config=configs/stick_breaking.py`, a CPU core, 2026-11-30: 92 s
on a busy machine, 2.26 ± 0.06 bits per byte at 64 bytes, 2.21 ± 0.07 at 512
(three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('stick_breaking',),
    stick_breaking=dict(
      remainder=True,  # True: the rest of the weight goes to the token's own value
    ),
  )
  return config
