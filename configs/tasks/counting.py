"""Counting since the last reset, with CoPE (Golovneva et al. 2024, arXiv 2405.18719).

`python -m posjax.main --config=configs/tasks/counting.py`, 24 s of a CPU core, 2026-12-01, seed 0.
Counts right at 64 and 128 tokens (trained at 32, where both encodings learn the task):
CoPE 1.000 and 0.997 in sparse rows, 0.972 and 0.652 in dense ones; RoPE 0.414 and 0.228, 0.548 and
0.254.
"""

from configs import cope


def get_config(size='tiny'):
  config = cope.get_config(size)
  config.task = dict(
    name='counting',
    counting=dict(
      nvars=1,  # variables
      cap=6,  # the largest count
    ),
  )
  config.train.steps = 400
  config.train.batch = 32
  config.train.length = 32
  config.optimizer.warmup = 40
  config.evaluate.multiples = (1, 2, 4)
  return config
