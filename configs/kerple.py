"""KERPLE (Chi et al. 2022, arXiv 2205.09921).

`python -m posjax.main --config=configs/kerple.py`, a CPU core, 2026-11-30: 99 s on a busy machine,
2.43 ± 0.11 bits per byte at 64 bytes, 2.39 ± 0.14 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('kerple',),
    kerple=dict(
      kernel='log',  # or 'power', 'log3', 'weighted'
    ),
  )
  return config
