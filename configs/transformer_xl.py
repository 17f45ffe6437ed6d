"""Transformer-XL's relative attention (Dai et al. 2019, arXiv 1901.02860).

`python -m posjax.main --config=configs/transformer_xl.py`, a CPU core, 2026-11-30: 106 s
on a busy machine, 2.27 ± 0.03 bits per byte at 64 bytes, 2.22 ± 0.03 at 512
(three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('transformer_xl',),
    transformer_xl=dict(
      untied=False,  # True: each layer has its own u and v, like W_R
    ),
  )
  return config
