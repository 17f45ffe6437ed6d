"""CABLE (Veisi et al. 2025, arXiv 2503.08067).

`python -m posjax.main --config=configs/cable.py`
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('cable',),
    cable=dict(
      bias=0.0,  # of the gates' logits at the start: softplus(0) = 0.69 for each token between
      scaled=False,  # True: logits are divided by sqrt(H), unlike in the released code
    ),
  )
  return config
