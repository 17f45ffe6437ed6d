"""T5 bias (Raffel et al. 2020, arXiv 1910.10683).

`python -m posjax.main --config=configs/t5.py`, a CPU core, 2026-11-30: 102 s on a busy machine,
2.56 ± 0.02 bits per byte at 64 bytes, 3.45 ± 0.10 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('t5',),
    t5=dict(
      buckets=32,  # of distances; half of them have one distance each
      max_distance=128,  # this and larger distances share the last bucket
      bidirectional=False,  # True: buckets for later keys; an encoder always has them
      scaled=True,  # False: no 1/sqrt(H), as T5's own weights need
      bias_scale=1.0,  # multiplies the table; sqrt(H) in GPT-NeoX and x-transformers
    ),
  )
  return config
