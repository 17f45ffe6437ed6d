"""ALiBi (Press et al. 2021, arXiv 2108.12409).

`python -m posjax.main --config=configs/alibi.py`, two CPU cores, 2026-11-22: a minute,
2.50 ± 0.04 bits per byte at 64 bytes, 2.48 ± 0.04 at 512 (three seeds, see README).
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
