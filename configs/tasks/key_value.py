"""Key-value retrieval, with RNoPE-SWA: windowed RoPE and global NoPE layers.

`python -m posjax.main --config=configs/tasks/key_value.py`, 24 s of a CPU core, 2026-12-01: all
values right at 32 to 256 tokens, in the three tests; RoPE in all layers has 0.66 at 256 in `far`
(seed 0).
"""

from configs import rnope_swa


def get_config(size='tiny'):
  config = rnope_swa.get_config(size)
  config.task = dict(
    name='key_value',
    key_value=dict(
      nkeys=8,  # different keys
      nvalues=8,  # different values
      present=4,  # keys of a row
    ),
  )
  config.model.windows = (8, 0)
  config.train.steps = 600
  config.train.batch = 32
  config.train.length = 32
  config.optimizer.warmup = 60
  config.evaluate.multiples = (1, 2, 4, 8)
  return config
