"""FoPE (Hua et al. 2024, arXiv 2412.17739).

`python -m posjax.main --config=configs/fope.py`, 2026-12-01: 2.39 bits per byte at 64 bytes, 3.28
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('fope',),
    fope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      length=config.train.length,  # drop frequencies whose period is longer than this
      sigma=0.3,  # size of the random coefficients; the paper's models have 0.3, 0.4 and 0.6
      rest='ones',  # rotate planes without a series by 45 degrees; 'identity': not at all
      seed=0,  # of the random coefficients, which are not trained
    ),
  )
  return config
