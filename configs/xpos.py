"""xPos (Sun et al. 2023, arXiv 2212.10554).

`python -m posjax.main --config=configs/xpos.py`, a CPU core, 2026-11-30: 70 s on a busy machine,
2.34 ± 0.04 bits per byte at 64 bytes, 3.72 ± 1.16 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('xpos',),
    xpos=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      scale_base=512.0,  # distance at which a plane has decayed by its factor zeta
      gamma=0.4,  # zeta of the fastest plane is gamma / (1 + gamma)
    ),
  )
  return config
