"""Sinusoidal (Vaswani et al. 2017, arXiv 1706.03762)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('sinusoidal',),
    sinusoidal=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi base
      layout='interleaved',  # sin, cos, sin, cos; or 'half', 'tensor2tensor'
    ),
  )
  return config
