"""ALiBi (Press et al. 2021, arXiv 2108.12409).

`python -m posjax.main --config=configs/alibi.py`, a CPU core, 2026-11-30: 97 s on a busy machine,
2.59 ± 0.04 bits per byte at 64 bytes, 2.57 ± 0.04 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('alibi',),
    alibi=dict(
      bias_max=8.0,  # the smallest slope is 2^-bias_max
      factor=1.0,  # multiplies all slopes; Falcon has 1/sqrt(H)
      learned='no',  # or learned slopes: 'alike' on both sides, or 'apart'
    ),
  )
  return config
