"""Swin's table of differences (Liu et al. 2021, arXiv 2103.14030).

On a grid, --config.model.chunks=8 --config.model.shifts=0,4 --config.encoding.swin.window=8 are
Swin's windows and shifted windows of 8 x 8. On a line it is a table of distances, without a clip.
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('swin',),
    swin=dict(
      window=(config.train.length,),  # positions on every axis, or on each, such as (7, 7)
      class_rows=False,  # True: rows for tokens without a place, as in BEiT
    ),
  )
  return config
