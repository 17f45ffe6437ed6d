"""RoPE (Su et al. 2021, arXiv 2104.09864).

`python -m posjax.main --config=configs/rope.py`, a CPU core, 2026-11-30: 68 s on a busy machine,
2.33 ± 0.02 bits per byte at 64 bytes, 4.12 ± 0.35 at 512 (three seeds, see docs/results.md).
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
    ),
  )
  return config
