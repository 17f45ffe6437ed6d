"""RNoPE-SWA (Yang et al. 2025, arXiv 2501.18795): windowed RoPE and global NoPE layers.

Layers without positions see all keys and retrieve; the layers between have RoPE and see near keys.
The paper has three RoPE layers per NoPE layer: `--config.encoding.layers=rope,rope,rope,nope` and
`--config.model.windows=32,32,32,0`, with a depth that is a multiple of four.

`python -m posjax.main --config=configs/rnope_swa.py`, a CPU core, 2026-11-30: 72 s
on a busy machine, 2.39 ± 0.02 bits per byte at 64 bytes, 2.40 ± 0.04 at 512
(three seeds, see docs/results.md).
"""

from configs import base

# Half of the training length; the paper has 4,096 of 8,192.
WINDOWS = {'tiny': 32, 'small': 256, 'base': 512, 'large': 1024}


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope', 'nope'),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  config.model.windows = (WINDOWS[size], 0)
  return config
