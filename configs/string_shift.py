"""STRING (An et al. 2024, arXiv 2410.18745).

`python -m posjax.main --config=configs/string_shift.py`, 2026-12-01: 2.33 bits per byte at 64
bytes, 4.27 at 512 (one seed, see docs/results.md).
"""

from configs import base

# A third of the training length. The paper's window is 128, for lengths from 2,048 on.
SHIFTS = {'tiny': 21, 'small': 170, 'base': 341, 'large': 682}
WINDOWS = {'tiny': 8, 'small': 32, 'base': 64, 'large': 128}


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('string_shift',),
    string_shift=dict(
      shift=SHIFTS[size],  # this distance and larger ones are reduced
      window=WINDOWS[size],  # the distance that `shift` is mapped to
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
