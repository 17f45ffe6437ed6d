"""iRoPE (Llama 4, Meta 2025): RoPE within chunks; every fourth layer is global, without positions.

Global layers have a temperature instead. Unlike in a window, a token sees only its own chunk of the
text, even if it is near the start of the chunk. The released models have chunks of 8,192. The depth
of each size is rounded up to a multiple of four.

`python -m posjax.main --config=configs/irope.py`, 2026-12-01: 2.25 bits per byte at 64 bytes, 2.27
at 512 (one seed, see docs/results.md).
"""

from configs import base

CHUNKS = {'tiny': 32, 'small': 256, 'base': 512, 'large': 1024}  # half of the training length


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('rope', 'rope', 'rope', 'temperature'),
    rope=dict(
      base=500_000.0,  # wavelengths run from 2 pi to 2 pi * base
      fraction=1.0,  # share of each head that is rotated
      layout='interleaved',  # pairs (2i, 2i + 1), or 'half': (i, i + H/2)
    ),
    temperature=dict(
      kind='llama4',
      length=CHUNKS[size],  # queries at smaller positions are unchanged
      beta=0.1,
    ),
  )
  config.model.chunks = (CHUNKS[size],) * 3 + (0,)
  config.model.layers += -config.model.layers % 4
  return config
