"""Learned positions on a grid (ViT, arXiv 2010.11929) or on each axis (NaViT, arXiv 2307.06304)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('learned_nd',),
    learned_nd=dict(
      grid=(config.train.length,),  # positions on each axis, such as (8, 8); others are refused
      factorized=False,  # True: a table for each axis, and their rows are added
      stddev=0.02,  # of the initial values
    ),
  )
  return config
