"""p-RoPE (Barbero et al. 2024, arXiv 2410.06205): RoPE whose slowest planes do not rotate.

`python -m posjax.main --config=configs/p_rope.py`, 2026-12-01: 2.34 bits per byte at 64 bytes, 4.17
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope',),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
      scaling=dict(
        rope_type='proportional',  # other types: posjax/encodings/parts/scaling.py
        partial_rotary_factor=0.75,  # share of the planes that rotate, fastest first; 0 is NoPE
      ),
    ),
  )
  return config
