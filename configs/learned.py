"""Learned absolute positions (Gehring et al. 2017, arXiv 1705.03122; GPT-2).

`python -m posjax.main --config=configs/learned.py`, a CPU core, 2026-11-30: 59 s on a busy machine,
2.71 ± 0.03 bits per byte at 64 bytes, no more positions (three seeds, see docs/results.md).
"""

from configs import base


def get_config(size='tiny'):
  config = base.get_config(size)
  config.encoding = dict(
    layers=('learned',),
    learned=dict(
      length=config.train.length,  # rows of the table; later positions are refused
      stddev=0.02,  # of the table's initial values
      offset=0,  # rows before position 0; 2 in RoBERTa and OPT
    ),
  )
  return config
