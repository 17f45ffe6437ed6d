"""FLOATER (Liu et al. 2020, arXiv 2003.09229).

`python -m posjax.main --config=configs/floater.py`, 2026-12-01: 2.33 bits per byte at 64 bytes (one
seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('floater',),
    floater=dict(
      length=config.train.length,  # positions on the integrated path; later ones are refused
      dt=0.01,  # time from one position to the next
      substeps=5,  # Runge-Kutta steps from one position to the next
    ),
  )
  return config
