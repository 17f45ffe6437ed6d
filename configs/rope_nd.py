"""RoPE on grids (Heo et al. 2024, arXiv 2403.13298, and others: posjax/encodings/parts/planes.py).

Text has one axis: there it is RoPE.
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope_nd',),
    rope_nd=dict(
      # Which axis rotates which planes: or pixtral, dinov3, pixels, chunks, interleaved, videorope.
      # Other keys, such as base, are arguments of the function in posjax/encodings/parts/planes.py.
      planes=dict(layout='axial'),
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
