"""BiPE (He et al. 2024, arXiv 2401.16421) with RoPE between sentences.

`python -m posjax.main --config=configs/bipe.py`, 2026-12-01: 2.77 bits per byte at 64 bytes, 3.90
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('bipe+rope',),
    bipe=dict(
      separators=tuple(b'.\n'),  # tokens that end a sentence
      length=1024,  # rows: positions in a sentence; farther ones use the last row
      step=1,  # position increment per sentence; 96 with ALiBi
      stddev=0.02,  # of the table's initial values
    ),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
