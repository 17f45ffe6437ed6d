"""Causal convolutional positions (wav2vec 2.0, Baevski et al. 2020, arXiv 2006.11477).

`python -m posjax.main --config=configs/convolution.py`, 2026-12-01: 2.43 bits per byte at 64 bytes,
2.94 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('convolution',),
    convolution=dict(
      kernel=128,  # tokens that each token reads, itself included
      groups=16,  # of channels; a group reads no other group
      causal=True,  # False: half of the kernel is after the token, for encoders
    ),
  )
  return config
