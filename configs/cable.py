"""CABLE (Veisi et al. 2025, arXiv 2503.08067).

`python -m posjax.main --config=configs/cable.py`, 2026-12-01: 2.34 bits per byte at 64 bytes, 2.30
at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('cable',),
    cable=dict(
      bias=0.0,  # initial bias of gate logits: softplus(0) = 0.69 per token between
      scaled=False,  # True: divide logits by sqrt(H); the released code does not
    ),
  )
  return config
