"""FIRE (Li et al. 2024, arXiv 2310.04418).

`python -m posjax.main --config=configs/fire.py`, a CPU core, 2026-11-30: 117 s on a busy machine,
2.36 ± 0.04 bits per byte at 64 bytes, 2.49 ± 0.09 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('fire',),
    fire=dict(
      length=512,  # initial L; the denominator is psi(max(L, i))
      width=32,  # of the network's hidden layer
      shared=False,  # True: one network for all layers (FIRE-S)
    ),
  )
  return config
