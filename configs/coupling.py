"""Position coupling (Cho et al. 2024, arXiv 2405.20671) for sums with the last digit first.

`python -m posjax.main --config=configs/coupling.py`, 2026-12-01: 3.08 bits per byte at 64 bytes,
3.21 at 128 (one seed, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('coupling+learned',),
    coupling=dict(
      digits=tuple(b'0123456789'),  # tokens that are digits; numbers begin with their last digit
      operators=tuple(b'+='),  # tokens at position s, before the first digit
      starts=91,  # in training s is drawn from 1 .. starts
    ),
    learned=dict(
      length=92 + config.train.length,  # rows: enough for a row that is one number
      stddev=0.02,  # of the table's initial values
    ),
  )
  return config
