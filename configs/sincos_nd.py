"""Sinusoids of each axis of positions (MoCo v3, arXiv 2104.02057; MAE, arXiv 2111.06377)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('sincos_nd',),
    sincos_nd=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      layout='half',  # of an axis sines, then cosines; or 'interleaved', 'sines_first' of all axes
      ends=False,  # True: the longest wavelength is exactly 2 pi * base
      reverse=False,  # True: the last axis first, such as width before height
    ),
  )
  return config
