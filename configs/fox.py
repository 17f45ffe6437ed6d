"""The forgetting Transformer (Lin et al. 2025, arXiv 2503.02130).

`python -m posjax.main --config=configs/fox.py`, a CPU core, 2026-11-30: 81 s on a busy machine,
2.31 ± 0.03 bits per byte at 64 bytes, 2.27 ± 0.03 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('fox',),
    fox=dict(
      bias=0.0,  # initial bias of gates: 0 halves the weight at each token
    ),
  )
  return config
