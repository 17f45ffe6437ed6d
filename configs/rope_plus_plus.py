"""RoPE++ with as many heads, EH (Liu et al. 2025, arXiv 2512.07525).

`python -m posjax.main --config=configs/rope_plus_plus.py`, 2026-12-01: 2.39 bits per byte at 64
bytes, 3.83 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope_plus_plus',),
    rope_plus_plus=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
    ),
  )
  config.model.kv_heads = config.model.heads // 2  # a real and an imaginary head share a key head
  return config
