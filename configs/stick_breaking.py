"""Stick-breaking attention (Tan et al. 2025, arXiv 2410.17980).

`python -m posjax.main --config=configs/stick_breaking.py`, two CPU cores, RESULT
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('stick_breaking',),
    stick_breaking=dict(
      remainder=True,  # what is left goes to the token's own value; False: it is lost
    ),
  )
  return config
