"""CoPE (Golovneva et al. 2024, arXiv 2405.18719).

`python -m posjax.main --config=configs/cope.py`, a CPU core, 2026-11-30: 196 s on a busy machine,
2.34 ± 0.06 bits per byte at 64 bytes, 2.90 ± 0.39 at 512 (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('cope',),
    cope=dict(
      rows=64,  # positions in the table; farther ones use the last
      scaled=True,  # False: no 1/sqrt(H) on the bias, as in x-transformers
    ),
  )
  return config
