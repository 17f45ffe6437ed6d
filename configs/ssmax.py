"""Scalable softmax (Nakanishi 2025, arXiv 2501.19399) with RoPE.

`python -m posjax.main --config=configs/ssmax.py`, 2026-12-01: 2.36 bits per byte at 64 bytes, 4.19
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('ssmax+rope',),  # 'ssmax' alone: no positions
    ssmax=dict(
      start=0.43,  # initial s of each head and layer
      bias=False,  # True: multiply logits by s ln n + b, not s ln n
    ),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
