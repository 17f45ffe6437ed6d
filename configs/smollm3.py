"""SmolLM3 (Bakouch et al. 2025): three layers with RoPE, then one without; all layers are global.

The depth of each size is rounded up to a multiple of four. Hugging Face's default base is 2e6.

`python -m posjax.main --config=configs/smollm3.py`, 2026-12-01: 2.19 bits per byte at 64 bytes,
4.11 at 512 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope', 'rope', 'rope', 'nope'),
    rope=dict(
      base=10_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='half',  # pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)
    ),
  )
  config.model.layers += -config.model.layers % 4
  return config
