"""Randomized positions (Ruoss et al. 2023, arXiv 2305.16843) with RoPE.

`python -m posjax.main --config=configs/randomize.py`, a CPU core, 2026-11-30: 76 s
on a busy machine, 2.56 ± 0.04 bits per byte at 64 bytes, 3.22 ± 0.15 at 512
(three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('randomize+rope',),
    randomize=dict(
      places=2048,  # positions to draw from
      at_evaluation=True,  # False: unchanged positions outside of training
    ),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
