"""RoPE (Su et al. 2021, arXiv 2104.09864).

`python -m posjax.main --config=configs/rope.py`, two CPU cores, 2026-11-22: a minute,
2.22 ± 0.03 bits per byte at 64 bytes, 4.08 ± 0.35 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope',),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
