"""NoPE: no positional encoding (Kazemnejad et al. 2023, arXiv 2305.19466).

`python -m posjax.main --config=configs/nope.py`, two CPU cores, 2026-11-22: a minute,
3.01 ± 0.03 bits per byte at 64 bytes, 3.42 ± 0.01 at 512 (three seeds, see README).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(layers=('nope',))
  return config
