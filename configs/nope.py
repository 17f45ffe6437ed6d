"""NoPE: no positional encoding (Kazemnejad et al. 2023, arXiv 2305.19466).

`python -m posjax.main --config=configs/nope.py`, a CPU core, 2026-11-30: 66 s on a busy machine,
3.08 ± 0.02 bits per byte at 64 bytes, 3.45 ± 0.01 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(layers=('nope',))
  return config
