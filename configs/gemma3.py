"""Gemma 3 (arXiv 2503.19786): five layers with a window, then one that sees all keys.

Local layers rotate fast, global layers slowly, so that far positions remain distinguishable. The
released models see 1,024 keys (512 in the smallest) and, for long texts, divide the global layers'
positions by 8.
The depth of each size is rounded up to a multiple of six.

`python -m posjax.main --config=configs/gemma3.py`, 2026-12-01: 2.13 bits per byte at 64 bytes, 2.15
at 512 (one seed, see docs/results.md).
"""

from configs import base

WINDOWS = {'tiny': 32, 'small': 256, 'base': 512, 'large': 1024}


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope_local',) * 5 + ('rope_global',),
    rope_local=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
    rope_global=dict(
      base=1_000_000.0,  # as above, for layers that see all keys
      fraction=1.0,
      layout='half',
    ),
  )
  config.model.windows = (WINDOWS[size],) * 5 + (0,)
  config.model.layers += -config.model.layers % 6
  return config
