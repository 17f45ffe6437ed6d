"""BERT's relative_key_query (Huang et al. 2020, arXiv 2009.13658, method 4).

`python -m posjax.main --config=configs/bert_relative.py`, 2026-12-01: 2.32 bits per byte at 64
bytes, 2.84 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('shaw',),
    shaw=dict(
      clip=511,  # length - 1, so no distance is clipped
      with_values=False,  # relative keys only
      with_queries=True,  # False: relative_key, only queries times the vectors
    ),
  )
  return config
