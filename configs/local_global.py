"""Local and global layers, each with its own base (Gemma 3, arXiv 2503.19786).

Layers with a window rotate fast; layers that see all keys rotate slowly, so that far positions stay
distinguishable. A label tells two settings of RoPE apart: `rope_local`, `rope_global`. Gemma 3 has
five local layers per global one: `--config.encoding.layers=rope_local,…`, if the depth allows it.

`python -m posjax.main --config=configs/local_global.py`, a CPU core, 2026-11-30: 61 s
on a busy machine, 2.32 ± 0.03 bits per byte at 64 bytes, 2.90 ± 0.69 at 512
(three seeds, see docs/results.md).
"""

from configs import base

WINDOWS = {'tiny': 32, 'small': 256, 'base': 512, 'large': 1024}


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope_local', 'rope_global'),
    rope_local=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
    rope_global=dict(
      base=1_000_000.0,  # as above, for layers that see all keys
      fraction=1.0,
      layout='half',
    ),
  )
  config.model.windows = (WINDOWS[size], 0)
  return config
