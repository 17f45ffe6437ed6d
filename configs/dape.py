"""DAPE (Zheng et al. 2024, arXiv 2405.14722).

`python -m posjax.main --config=configs/dape.py`, a CPU core, 2026-11-30: 268 s on a busy machine,
2.31 ± 0.06 bits per byte at 64 bytes, 2.27 ± 0.06 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('dape',),
    dape=dict(
      base='kerple',  # the bias to refine; or 'alibi', 'fire'
      width=32,  # of the network's hidden layer
      arguments={},  # of the base, such as dict(bias_max=4.0) for 'alibi'
    ),
  )
  return config
