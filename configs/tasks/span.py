"""Span answers, with RoPE in an encoder: the word that follows a given letter.

`python -m posjax.main --config=configs/tasks/span.py`:
exact match 0.984 at 64 tokens, 0.330 at 128 and 0.051 at 256 (one seed, two CPU cores, 1 December
2026).
"""

from configs import rope


def get_config(size='tiny'):
  config = rope.get_config(size)
  config.task = dict(
    name='span',
    span=dict(
      source='generated',  # of the examples, or 'records': those of the section `data`
    ),
  )
  config.train.steps = 1200
  config.optimizer.warmup = 120
  config.evaluate.multiples = (1, 2, 4)
  return config
