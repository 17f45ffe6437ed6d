"""Log-spaced continuous bias of Swin V2 (Liu et al. 2022, arXiv 2111.09883)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('log_cpb',),
    log_cpb=dict(
      window=(8 * config.train.length,),  # positions on every axis, or on each, such as (8, 8)
      pretrained=(config.train.length,),  # the window in training; (): the same
      hidden=512,  # units of the network
      form='swin',  # or 'cr' of timm: ln(1 + distance), and no sigmoid
      cosine=False,  # True: cosines times a learned factor replace products, as in Swin V2
    ),
  )
  return config
