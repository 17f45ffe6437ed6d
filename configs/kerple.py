"""KERPLE (Chi et al. 2022, arXiv 2205.09921).

`python -m posjax.main --config=configs/kerple.py`, two CPU cores, RESULT
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('kerple',),
    kerple=dict(
      kernel='log',  # or 'power'
    ),
  )
  return config
