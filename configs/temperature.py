"""Temperatures by query position, here log n (Chiang and Cholak 2022, ACL), with RoPE.

`python -m posjax.main --config=configs/temperature.py`, 2026-12-01: 2.34 bits per byte at 64 bytes,
4.16 at 512 (one seed, see docs/results.md).
"""

from configs import base

LENGTHS = {'tiny': 64, 'small': 512, 'base': 1024, 'large': 2048}  # the training length


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('temperature+rope',),  # 'temperature' alone: no positions
    temperature=dict(
      kind='log_n',  # or 'llama4', 'ministral', 'drope', 'uniform'
      length=LENGTHS[size],  # the trained length; for all kinds but 'uniform'
      beta=0.1,  # for 'llama4' and 'ministral'
      target=8 * LENGTHS[size],  # the target length of 'drope'
      growth=0.412,  # for 'drope'; SmolLM has 0.103
      factor=1.2,  # for 'uniform'
    ),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
