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
      bias_max=8.0,  # the gentlest slope is 2^-bias_max
      factor=1.0,  # of all slopes; 1/sqrt(H) is Falcon's form
      learned='no',  # or 'alike', 'apart': slopes are weights, the same on either side or not
    ),
  )
  return config
