"""CoPE (Golovneva et al. 2024, arXiv 2405.18719).

`python -m posjax.main --config=configs/cope.py`, two CPU cores, 2026-11-22: a minute,
2.24 ± 0.05 bits per byte at 64 bytes, 2.91 ± 0.28 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('cope',),
    cope=dict(
      rows=64,  # positions of the table; all farther ones are the last one
      scaled=True,  # False: the bias without 1/sqrt(H), as in x-transformers
    ),
  )
  return config
