"""ReRoPE (Su 2023, https://github.com/bojone/rerope).

`python -m posjax.main --config=configs/rerope.py`, 2026-12-01: 2.32 bits per byte at 64 bytes, 2.30
at 512 (one seed, see docs/results.md).
"""

from configs import base

# Half of the training length; the released code has 512 of 4,096.
WINDOWS = {'tiny': 32, 'small': 256, 'base': 512, 'large': 1024}


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rerope',),  # the released code has 'temperature+rerope'
    rerope=dict(
      window=WINDOWS[size],  # distances below it are unchanged
      slope=0.0,  # growth of larger distances; Leaky ReRoPE: 1/16
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
