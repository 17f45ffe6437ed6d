"""RoPE-Mixed (Heo et al. 2024, arXiv 2403.13298)."""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope_mixed',),
    rope_mixed=dict(
      base=10.0,  # wavelengths start between 2 pi and 2 pi * base, and are learned
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  return config
